"""The project's own pages, ingested with the model in the box."""

from pathlib import Path

import httpx
import pytest

from tests.cli.ingest.ingested import Ingested
from tests.cli.transfer.commands import Pinyon
from tests.running import PROJECT, RunningServer

QUESTIONS = {
    "Which languages does keyword search know?": "docs/languages.md",
    "What is left after a power cut?": "docs/reliability.md",
    "How is an index exported to a Parquet file?": "docs/data.md",
    "What does langchain-pinecone need to use this server?": "docs/clients.md",
    "How do I add an embedding model of my own?": "docs/models.md",
}


@pytest.mark.slow
def test_questions_are_answered_from_the_right_page_and_no_chunk_was_cut(
    pinyon: Pinyon, minilm_server: RunningServer, namespace: str
) -> None:
    pages = Ingested(pinyon, minilm_server.url, namespace, Path(PROJECT / "docs"))
    pages.ok("--exclude", "notes")
    search = f"{pages.url}/records/namespaces/{namespace}/search"
    for question, page in QUESTIONS.items():
        query = {"inputs": {"text": question, "group_by": "source"}, "top_k": 2}
        answer = httpx.post(search, json={"query": query, "fields": ["source"]}, timeout=60).raise_for_status()
        assert page in [hit["fields"]["source"] for hit in answer.json()["result"]["hits"]], question
    stats = httpx.post(f"{pages.url}/describe_index_stats", timeout=60).json()["namespaces"][namespace]
    assert stats["truncatedCount"] == 0, "the model reads every chunk whole"
    assert stats["vectorCount"] == len(pages.records) > 80
