"""Changes of a whole index in PostgreSQL, while others hold, want or read its tables. Where each waits is made sure of
with locks of a third party."""

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pinyon.domain import EmbedSpec, IndexSpec, QueryPlan, Record
from pinyon.errors import NotFound
from pinyon.storage.postgres.engine import PostgresEngine

from tests.postgres.shared_server import locked, open_postgres, schema_of, sessions_that_wait, shared

pytestmark = pytest.mark.anyio
SPEC = IndexSpec("docs", 2, "euclidean", embed=EmbedSpec("any", "text", language="none"))
X = np.float32([1, 0])
APPLE = Record("apple", X, {"text": "apple"})


async def indexed(folder: Path) -> PostgresEngine:
    engine = await open_postgres(folder)
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [APPLE])
    return engine


async def test_a_write_that_waits_for_a_deletion_of_the_index_is_told_that_there_is_none(tmp_path: Path) -> None:
    engine = await indexed(tmp_path)
    async with locked(f"SELECT FROM {schema_of(tmp_path)}_1.state FOR UPDATE"):
        deletion = asyncio.create_task(engine.delete_index("docs"))
        await sessions_that_wait(1)
        write = asyncio.create_task(engine.upsert("docs", "a", [APPLE]))
        await sessions_that_wait(2)
    with pytest.raises(NotFound, match="docs"):
        await write
    await deletion
    await engine.close()


async def test_a_search_that_waits_for_other_words_of_the_texts_finds_them(tmp_path: Path) -> None:
    engine = await indexed(tmp_path)
    other = msgspec.structs.replace(SPEC, embed=EmbedSpec("any", "text", language="english"))
    async with locked(f"SELECT FROM {schema_of(tmp_path)}_1.postings"):
        index = engine.index("docs")
        change = asyncio.create_task(engine.configure_index(msgspec.structs.replace(index, spec=other)))
        await sessions_that_wait(1)
        search = asyncio.create_task(engine.query("docs", "a", QueryPlan(5, text="apples")))
        await sessions_that_wait(2)
    await change
    assert [match.id for match in (await search).matches] == ["apple"]
    await engine.close()


async def test_tables_of_somebody_else_are_not_taken_for_those_of_a_deleted_index(tmp_path: Path) -> None:
    names = ("state", "records", "vectors", "namespaces", "postings")
    made = "; ".join(f"CREATE TABLE public.{name} (own text); INSERT INTO public.{name} VALUES ('x')" for name in names)
    shared().execute(made)
    try:
        engine = await indexed(tmp_path)
        late = await open_postgres(tmp_path)
        await late._copy.close()  # it no longer follows what others change
        await engine.delete_index("docs")
        with pytest.raises(NotFound, match="docs"):
            await late.query("docs", "a", QueryPlan(5, vector=X))
        await late.close()
        again = await open_postgres(tmp_path)
        await again.create_index(SPEC)
        await again._copy.close()
        await engine.delete_index("docs")
        with pytest.raises(NotFound, match="docs"):
            await again.upsert("docs", "a", [APPLE])
        await again.close()
        await engine.close()
        assert all(shared().execute(f"SELECT own FROM public.{name}") == [("x",)] for name in names)
    finally:
        shared().execute("; ".join(f"DROP TABLE public.{name}" for name in names))
