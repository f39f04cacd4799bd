"""Embedding indexes anew, side by side."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from pinyon.storage.sqlite.upkeep import compaction

from tests.durability.test_power import serving

pytestmark = pytest.mark.anyio
GIVEN_UP_S = 20.0
"""After so long something is held up: a failure, and not a measure."""
MODEL = "pinyon-hash-embed"


async def test_an_index_whose_reembedding_cannot_begin_yet_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, opened = threading.Event(), threading.Event()
    shrink = compaction.shrink

    def slowly(connection: Any) -> None:
        if Path(connection.filename).stem == "quickstart":
            reached.set()
            assert opened.wait(3 * GIVEN_UP_S), "the test forgot to let it go on"
        shrink(connection)

    monkeypatch.setattr(compaction, "shrink", slowly)
    async with serving(tmp_path, tmp_path / "data") as http:
        embed = {"model": MODEL, "field_map": {"text": "text"}}
        made = await http.post(
            "/indexes/create-for-model", json={"name": "two", "cloud": "aws", "region": "x", "embed": embed}
        )
        assert made.status_code == 201, made.text
        compacting = asyncio.ensure_future(http.post("/indexes/quickstart/compact"))
        assert await asyncio.to_thread(reached.wait, GIVEN_UP_S)
        waiting = asyncio.ensure_future(http.post("/indexes/quickstart/reembed", json={"model": MODEL}))
        try:
            async with asyncio.timeout(GIVEN_UP_S):
                other = await http.post("/indexes/two/reembed", json={"model": MODEL})
            assert other.status_code < 300, other.text
            assert not waiting.done(), "the index that is compacted takes no writes yet"
        finally:
            opened.set()
            done = await asyncio.gather(compacting, waiting)
        assert [answer.is_success for answer in done] == [True, True]
