"""GET /metrics and the log: what whoever runs a server sees of it, without anything of what is in it."""

import json
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.running import RunningServer, config

RECORD = {"_id": "id-of-a-record", "chunk_text": "words of a text", "field": "value of a field"}
QUERY = {"query": {"inputs": {"text": "asked for"}, "top_k": 3, "filter": {"field": "value of a field"}}}


def values(client: httpx.Client) -> dict[tuple[str, str], float]:
    """By name and the labels' values."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, " ".join(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.data_folder
def test_everything_that_happens_is_counted_and_logged_and_nothing_of_it_is_told(tmp_path: Path) -> None:
    more = '[server]\nlog_format = "json"\naccess_log = true\nlog_level = "debug"\n'
    server = RunningServer(config(tmp_path, more=more), tmp_path / "data")
    with server.client() as client:
        path = "/records/namespaces/name-of-a-namespace/"
        assert client.post(path + "upsert", json=[RECORD]).status_code == 201
        for _ in range(2):
            found = client.post(path + "search", json={**QUERY, "rerank": {"model": "bm25", "rank_fields": ["field"]}})
            assert found.status_code == 200, found.text
        refused = client.post(path + "search", json={"query": {"top_k": 3}})
        assert refused.status_code == 400
        there = values(client)
        shown = client.get("/metrics").text
    assert server.stop() == 0
    assert there["pinyon_request_seconds_count", "searchRecordsNamespace rest 200"] == 2
    assert there["pinyon_request_seconds_count", "searchRecordsNamespace rest 400"] == 1
    for stage, times in {"embed_passage": 1, "embed_query": 1, "rerank": 2, "search": 2, "write": 1}.items():
        assert there["pinyon_stage_seconds_count", stage] == times, stage
    assert there["pinyon_cache_lookups_total", "query true"] == 1
    assert there["pinyon_cache_lookups_total", "filter true"] == 1
    assert there["pinyon_tokens_total", "passage"] == 4
    assert there["pinyon_batch_texts_sum", "passage"] == 1
    assert there["pinyon_index_lsn", "quickstart"] == 1
    assert there["pinyon_index_bytes", "quickstart data"] > 0
    assert there["pinyon_queue_depth", ""] == 0
    assert there["pinyon_ready", ""] == 1
    lines = [json.loads(line) for line in server.text.splitlines() if line.startswith("{")]
    logged = next(line for line in lines if line.get("status") == "400")
    assert logged["request_id"] == refused.headers["x-pinecone-request-id"]
    assert (logged["operation"], logged["logger"]) == ("searchRecordsNamespace", "pinyon.access")
    for secret in ("id-of-a-record", "words of", "value of", "asked for", "name-of-a-namespace"):
        assert secret not in shown
        assert secret not in server.text


def test_answers_carry_what_browsers_need_to_keep_them_to_themselves(client: httpx.Client) -> None:
    for path in ("/health", "/indexes", "/nowhere"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
