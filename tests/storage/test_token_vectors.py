"""Token vectors are stored with their records, and are those of the text that a record has now."""

from typing import Any

import msgspec
import numpy as np
import pytest
from pinyon import filters
from pinyon.domain import (
    EmbedSpec,
    Fingerprint,
    IndexSpec,
    QueryPlan,
    Record,
    ReembeddedText,
    Selection,
    UpdatePlan,
)
from pinyon.search import token_codes
from pinyon.storage.engine import Engine

from tests.storage.conftest import Open

pytestmark = pytest.mark.anyio

EMBED = EmbedSpec("m", "text", token_vectors="stored")
SPEC = IndexSpec("docs", 4, "cosine", EMBED)
PRINT = Fingerprint("m", "m", "1", "mean", "", "", 4)
OTHER = Fingerprint("n", "n", "1", "mean", "", "", 4)


def code(text: str) -> bytes:
    return token_codes.encode([np.full((3, 8), len(text), np.float32)])


def record(id: str, text: str, coded: bool = True, **metadata: Any) -> Record:
    vector = np.float32([1, len(text), 0, 0])
    return Record(id, vector, {"text": text, **metadata}, token_codes=code(text) if coded else None)


async def codes(engine: Engine, namespace: str = "a") -> dict[str, bytes | None]:
    plan = QueryPlan(100, vector=np.ones(4, np.float32), include_token_codes=True)
    return {match.id: match.token_codes for match in (await engine.query("docs", namespace, plan)).matches}


async def test_they_come_back_only_if_they_are_asked_for(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("x", "one"), record("y", "three", coded=False)], PRINT)
    assert await codes(engine) == {"x": code("one"), "y": None}
    plain = QueryPlan(100, vector=np.ones(4, np.float32))
    assert [match.token_codes for match in (await engine.query("docs", "a", plain)).matches] == [None, None]


async def test_they_are_there_after_a_restart_and_after_compaction(open_engine: Open) -> None:
    engine = await open_engine()
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record(str(n), "text" * n) for n in range(1, 30)], PRINT)
    await engine.delete("docs", "a", Selection([str(n) for n in range(1, 20)]))
    wanted = {str(n): code("text" * n) for n in range(20, 30)}
    await engine.close()
    engine = await open_engine()
    assert await codes(engine) == wanted
    await engine.compact("docs")
    assert await codes(engine) == wanted
    await engine.close()


async def test_an_upsert_replaces_them_and_an_upsert_without_them_removes_them(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("x", "one"), record("y", "two")], PRINT)
    await engine.upsert("docs", "a", [record("x", "other"), record("y", "two", coded=False)], PRINT)
    assert await codes(engine) == {"x": code("other"), "y": None}


async def test_a_changed_text_has_none_and_other_changes_leave_them(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record(id, "one", kind=id) for id in "xyz"], PRINT)
    await engine.update("docs", "a", UpdatePlan(Selection(["x"]), metadata={"text": "another"}))
    await engine.update("docs", "a", UpdatePlan(Selection(["y"]), metadata={"text": "one", "n": 1}))
    await engine.update("docs", "a", UpdatePlan(Selection(["z"]), vector=np.ones(4, np.float32)))
    assert await codes(engine) == {"x": None, "y": code("one"), "z": code("one")}


async def test_they_go_with_their_records(engine: Engine) -> None:
    await engine.create_index(SPEC)
    for namespace in "abc":
        await engine.upsert("docs", namespace, [record(id, "one", kind=id) for id in "xyz"], PRINT)
    await engine.delete("docs", "a", Selection(["x"]))
    await engine.delete("docs", "a", Selection(filter=filters.parse({"kind": "y"})))
    await engine.delete("docs", "b", Selection())
    await engine.delete_namespace("docs", "c")
    for namespace in "abc":  # new records take the rows of the old ones
        await engine.upsert("docs", namespace, [record(id, "new", coded=False) for id in "uvw"], PRINT)
    assert await codes(engine, "a") == {"z": code("one"), "u": None, "v": None, "w": None}
    for namespace in "bc":
        assert set((await codes(engine, namespace)).values()) == {None}


async def test_an_index_without_the_option_stores_none_and_switching_it_off_removes_them(engine: Engine) -> None:
    index = await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("x", "one")], PRINT)
    for embed in (EMBED, msgspec.structs.replace(EMBED, retrieval="hybrid")):
        index = await engine.configure_index(
            msgspec.structs.replace(index, spec=msgspec.structs.replace(SPEC, embed=embed))
        )
        assert await codes(engine) == {"x": code("one")}
    off = msgspec.structs.replace(SPEC, embed=msgspec.structs.replace(EMBED, token_vectors="none"))
    index = await engine.configure_index(msgspec.structs.replace(index, spec=off))
    await engine.upsert("docs", "a", [record("y", "two")], PRINT)
    assert await codes(engine) == {"x": None, "y": None}
    await engine.configure_index(msgspec.structs.replace(index, spec=SPEC))
    assert await codes(engine) == {"x": None, "y": None}


async def test_another_embedded_field_has_other_token_vectors(engine: Engine) -> None:
    index = await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("x", "one", body="a body")], PRINT)
    spec = msgspec.structs.replace(SPEC, embed=msgspec.structs.replace(EMBED, text_field="body"))
    await engine.configure_index(msgspec.structs.replace(index, spec=spec))
    assert await codes(engine) == {"x": None}


async def test_a_new_model_brings_its_own(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("x", "one"), record("y", "two")], PRINT)
    target = msgspec.structs.replace(SPEC, embed=msgspec.structs.replace(EMBED, model="n"))
    await engine.begin_reembedding("docs", target, OTHER)
    texts = await engine.texts_to_reembed("docs", 10)
    new = [
        ReembeddedText(text, np.ones(4, np.float32), False, token_codes=code(text.text * 9) if text.id == "x" else None)
        for text in texts
    ]
    await engine.keep_reembedded("docs", OTHER, new)
    assert await codes(engine) == {"x": code("one"), "y": code("two")}
    assert await engine.finish_reembedding("docs")
    assert await codes(engine) == {"x": code("one" * 9), "y": None}
