"""Backups of indexes, restore jobs and backup schedules over REST, as Pinecone's clients use them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinyon.auth import keys

from tests.running import RunningServer, config, free_ports

PLACE = {"cloud": "aws", "region": "us-east-1"}
EMBED = {"model": "pinyon-hash-embed", "field_map": {"text": "text"}}
NIGHTLY = {
    "name": "nightly",
    "schedule": {"type": "time-based", "frequency": "daily"},
    "retention": {"expire_after_days": 90},
}
OLD, NEW = {"X-Pinecone-Api-Version": "2025-10"}, {"X-Pinecone-Api-Version": "2026-07"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backups") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[RunningServer]:
    running = RunningServer(config(data.parent), data, "--index-ports", free_ports(8))
    yield running
    assert running.stop() == 0, running.text


@pytest.fixture
def http(server: RunningServer) -> Iterator[httpx.Client]:
    """A client of a server without a backup, and without an index but that of the settings."""
    with server.client() as client:
        yield client
        for backup in client.get("/backups?limit=100").json()["data"]:
            assert client.delete(f"/backups/{backup['backup_id']}").status_code == 202
        for index in names(client):
            client.patch(f"/indexes/{index}", json={"deletion_protection": "disabled"})
            assert client.delete(f"/indexes/{index}").status_code == 202


def names(http: httpx.Client) -> list[str]:
    """The names of the indexes, without the one of the settings."""
    every = [index["name"] for index in http.get("/indexes").json()["indexes"]]
    return [name for name in every if name != "quickstart"]


def created(http: httpx.Client, name: str = "docs") -> str:
    """The URL of a new index with two records in one namespace and one in another."""
    body = {"name": name, **PLACE, "embed": EMBED, "tags": {"team": "a"}}
    url: str = http.post("/indexes/create-for-model", json=body).raise_for_status().json()["host"]
    for id, namespace in (("a", "n"), ("b", "n"), ("c", "m")):
        record = {"_id": id, "text": f"text of {id}"}
        http.post(f"{url}/records/namespaces/{namespace}/upsert", json=record).raise_for_status()
    return url


def backed_up(http: httpx.Client, index: str = "docs", **body: Any) -> dict[str, Any]:
    answer = http.post(f"/indexes/{index}/backups", json=body)
    assert answer.status_code == 201, answer.text
    backup: dict[str, Any] = answer.json()
    while backup["status"] == "Initializing":
        backup = http.get(f"/backups/{backup['backup_id']}").json()
    return backup


def restored(http: httpx.Client, backup: dict[str, Any], **body: Any) -> dict[str, Any]:
    """The restore job, when it has ended."""
    answer = http.post(f"/backups/{backup['backup_id']}/create-index", json=body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = http.get(f"/restore-jobs/{answer.json()['restore_job_id']}").json()
    while job["status"] == "InProgress":
        job = http.get(f"/restore-jobs/{job['restore_job_id']}").json()
    assert job["target_index_id"] == answer.json()["index_id"]
    return job


def refusal(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    message: str = answer.json()["error"]["message"]
    return message


def test_a_backup_says_what_it_is_of_and_is_in_both_lists(http: httpx.Client) -> None:
    created(http)
    backup = backed_up(http, name="before", description="the big change")
    assert {key: backup[key] for key in ("source_index_name", "name", "description", "status", "cloud", "region")} == {
        "source_index_name": "docs",
        "name": "before",
        "description": "the big change",
        "status": "Ready",
        "cloud": "aws",
        "region": "us-east-1",
    }
    described = http.get("/indexes/docs").json()
    assert (backup["dimension"], backup["metric"]) == (described["dimension"], described["metric"])
    assert (backup["record_count"], backup["namespace_count"], backup["tags"]) == (3, 2, {"team": "a"})
    assert backup["size_bytes"] > 0
    assert backup["created_at"].endswith("Z")
    for path in ("/backups", "/indexes/docs/backups", "/indexes/docs/backups?include_deleted=true"):
        assert http.get(path).json() == {"data": [backup]}
    assert http.get(f"/backups/{backup['backup_id']}").json() == backup
    new = http.get(f"/backups/{backup['backup_id']}", headers=NEW).json()
    assert "dimension" not in new
    assert new["schema"] == http.get("/indexes/docs", headers=NEW).json()["schema"]


def test_an_index_of_a_backup_has_its_records_and_goes_on_by_itself(http: httpx.Client) -> None:
    docs = created(http)
    backup = backed_up(http)
    assert (backup["name"], backup["description"]) == (None, None)
    http.post(f"{docs}/vectors/delete", json={"namespace": "n", "deleteAll": True}).raise_for_status()
    tags = {"copy": "yes"}
    job = restored(http, backup, name="again", tags=tags, deletion_protection="enabled")
    assert {key: job[key] for key in ("backup_id", "target_index_name", "status", "percent_complete")} == {
        "backup_id": backup["backup_id"],
        "target_index_name": "again",
        "status": "Completed",
        "percent_complete": 100.0,
    }
    assert job["completed_at"] >= job["created_at"]
    assert http.get("/restore-jobs").json()["data"][-1] == job
    again, docs_now = http.get("/indexes/again").json(), http.get("/indexes/docs").json()
    assert (again["status"], again["tags"]) == ({"ready": True, "state": "Ready"}, tags)
    assert again["deletion_protection"] == "enabled"
    assert (again["embed"], again["host"] != docs_now["host"]) == (docs_now["embed"], True)
    records = f"{again['host']}/records/namespaces/n"
    hits = http.post(f"{records}/search", json={"query": {"inputs": {"text": "text of b"}, "top_k": 1}}).json()
    assert [hit["_id"] for hit in hits["result"]["hits"]] == ["b"]
    http.post(f"{records}/upsert", json={"_id": "new", "text": "new"}).raise_for_status()
    stats = http.get(f"{again['host']}/describe_index_stats").json()
    assert {name: each["vectorCount"] for name, each in stats["namespaces"].items()} == {"m": 1, "n": 3}


def test_lists_have_pages(http: httpx.Client) -> None:
    created(http)
    made = [backed_up(http, name=f"number {number}")["backup_id"] for number in range(3)]
    first = http.get("/indexes/docs/backups?limit=2").json()
    token = first["pagination"]["next"]
    second = http.get("/indexes/docs/backups", params={"limit": 2, "paginationToken": token}).json()
    assert [each["backup_id"] for each in first["data"] + second["data"]] == made
    assert "pagination" not in second
    for limit in ("0", "101", "x"):
        assert "limit" in refusal(http.get(f"/backups?limit={limit}"), 400)
    assert "token" in refusal(http.get("/backups?paginationToken=x"), 400)


def test_a_backup_outlasts_its_index_until_it_is_deleted(http: httpx.Client) -> None:
    created(http)
    backup = backed_up(http)
    assert http.delete("/indexes/docs").status_code == 202
    assert http.get("/indexes/docs/backups").json()["data"] == [backup]
    assert restored(http, backup, name="docs")["status"] == "Completed"
    assert http.delete(f"/backups/{backup['backup_id']}").status_code == 202
    for path in (f"/backups/{backup['backup_id']}", "/indexes/nothing/backups", "/restore-jobs/nothing"):
        assert "not found" in refusal(http.get(path), 404)
    assert "not found" in refusal(http.delete(f"/backups/{backup['backup_id']}"), 404)
    assert "not found" in refusal(http.post("/backups/x/create-index", json={"name": "y"}), 404)
    assert "not found" in refusal(http.post("/indexes/nothing/backups", json={}), 404)


def test_what_cannot_be_restored_or_taken_is_refused_before_anything_is_made(http: httpx.Client) -> None:
    created(http)
    backup = backed_up(http)
    path = f"/backups/{backup['backup_id']}/create-index"
    jobs = http.get("/restore-jobs?limit=100").json()["data"]
    assert "already exists" in refusal(http.post(path, json={"name": "docs"}), 409)
    assert "lower case" in refusal(http.post(path, json={"name": "No"}), 400)
    assert "name" in refusal(http.post(path, json={}), 422)
    assert "deletion_protection" in refusal(http.post(path, json={"name": "x", "deletion_protection": "on"}), 400)
    assert "tags" in refusal(http.post(path, json={"name": "x", "tags": {"a": 1}}), 422)
    assert "at most 255" in refusal(http.post("/indexes/docs/backups", json={"name": "x" * 256}), 400)
    assert "at most 1000" in refusal(http.post("/indexes/docs/backups", json={"description": "x" * 1001}), 400)
    assert http.post("/indexes/docs/backups", json={"name": 3}).status_code == 400
    assert http.get("/restore-jobs?limit=100").json()["data"] == jobs
    assert names(http) == ["docs"]
    assert http.get("/backups").json()["data"] == [backup]


@pytest.mark.data_folder
def test_a_damaged_backup_fails_the_job_and_says_why(data: Path, http: httpx.Client) -> None:
    created(http)
    backup = backed_up(http)
    file = data / "backups" / backup["backup_id"] / "index.sqlite"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    job = restored(http, backup, name="again")
    assert (job["status"], job["percent_complete"]) == ("Failed", 0.0)
    assert "index.sqlite" in job["error"]
    assert "not found" in refusal(http.get("/indexes/again"), 404)
    assert "Index again" not in http.get("/ready").text
    created(http, "again")  # the name and its port are free


def test_backups_of_deleted_indexes_are_listed_on_request(http: httpx.Client) -> None:
    created(http)
    old = backed_up(http)["backup_id"]
    assert http.delete("/indexes/docs").status_code == 202
    path, every = "/indexes/docs/backups", "/indexes/docs/backups?include_deleted=true"
    assert "not found" in refusal(http.get(path, headers=NEW), 404)
    (listed,) = http.get(every, headers=NEW).json()["data"]
    assert listed["backup_id"] == old
    assert datetime.fromisoformat(listed["source_index_deleted_at"]) > datetime.fromisoformat(listed["created_at"])
    assert http.get(f"/backups/{old}", headers=NEW).json() == listed
    assert http.get("/backups", headers=NEW).json()["data"] == [listed]
    created(http)
    assert http.get(path, headers=NEW).json() == {"data": []}
    new = backed_up(http)["backup_id"]
    (described,) = http.get(f"{path}?include_deleted=false", headers=NEW).json()["data"]
    assert (described["backup_id"], described["source_index_deleted_at"]) == (new, None)
    for version, url in ((NEW, every), (OLD, path), (OLD, every)):
        assert [each["backup_id"] for each in http.get(url, headers=version).json()["data"]] == [old, new]
    assert [each["backup_id"] for each in http.get(f"{path}?include_deleted=false").json()["data"]] == [new]
    assert "true or false" in refusal(http.get(f"{path}?include_deleted=maybe"), 400)
    assert "not found" in refusal(http.get("/indexes/nothing/backups?include_deleted=true"), 404)


def test_a_schedule_is_made_shown_changed_and_deleted(http: httpx.Client) -> None:
    created(http)
    answer = http.post("/indexes/docs/backup-schedules", json=NIGHTLY)
    assert answer.status_code == 201, answer.text
    schedule = answer.json()
    created_at, due = (datetime.fromisoformat(schedule.pop(key)) for key in ("created_at", "next_scheduled_run"))
    assert due == created_at + timedelta(days=1)
    path = f"/backup-schedules/{schedule.pop('schedule_id')}"
    (run,) = http.get(f"{path}/history").json()["data"]
    assert schedule == {
        "name": "nightly",
        "index_id": run["source_index_id"],
        "project_id": "pinyon",
        "schedule_type": "time-based",
        "frequency": "daily",
        "retention_expire_after_days": 90,
        "enabled": True,
    }
    assert http.get("/indexes/docs/backup-schedules").json() == {"data": [answer.json()]}
    assert http.get(path).json() == answer.json()
    assert (run["status"], run["source_index_name"]) == ("Initializing", "docs")
    assert run["name"] == f"nightly-{due:%Y%m%dT%H%M%SZ}"
    assert datetime.fromisoformat(run["scheduled_execution_at"]) == due
    changed = http.patch(path, json={"retention": {"expire_after_days": 3}, "enabled": False}).json()
    assert changed == {
        **answer.json(),
        "retention_expire_after_days": 3,
        "enabled": False,
        "next_scheduled_run": None,
    }
    assert http.patch(path, json={}).json() == changed
    assert http.get(f"{path}/history").json() == {"data": []}
    deleted = http.delete(path)
    assert (deleted.status_code, deleted.content) == (202, b"")
    for method, each in (("GET", path), ("PATCH", path), ("DELETE", path), ("GET", f"{path}/history")):
        assert "not found" in refusal(http.request(method, each, json={}), 404)


def test_a_schedule_that_cannot_be_is_refused_with_what_is_allowed(http: httpx.Client) -> None:
    created(http)
    path = "/indexes/docs/backup-schedules"
    for wrong, status, words in (
        ({"schedule": {"type": "time-based", "frequency": "hourly"}}, 400, "daily, weekly or monthly, got 'hourly'"),
        ({"schedule": {"type": "cron", "frequency": "daily"}}, 400, "time-based, got 'cron'"),
        ({"retention": {"expire_after_days": 0}}, 400, "between 1 and 3650, got 0"),
        ({"retention": {}}, 400, "expire_after_days"),
        ({"name": ""}, 400, "at least one character"),
    ):
        assert words in refusal(http.post(path, json={**NIGHTLY, **wrong}), status)
    assert "empty" in refusal(http.post(path), 400)
    assert "not found" in refusal(http.post("/indexes/nothing/backup-schedules", json=NIGHTLY), 404)
    assert "not found" in refusal(http.get("/indexes/nothing/backup-schedules"), 404)
    http.post(path, json=NIGHTLY).raise_for_status()
    assert "'nightly'" in refusal(http.post(path, json=NIGHTLY), 409)
    assert len(http.get(path).json()["data"]) == 1


def test_backups_and_jobs_are_there_after_a_restart(tmp_path: Path) -> None:
    ports = free_ports(4)
    server = RunningServer(config(tmp_path), tmp_path / "data", "--index-ports", ports)
    with server.client() as http:
        created(http)
        backup = backed_up(http, name="kept")
        job = restored(http, backup, name="again")
    assert server.stop() == 0
    server = RunningServer(config(tmp_path), tmp_path / "data", "--index-ports", ports)
    with server.client() as http:
        assert http.get("/backups").json()["data"] == [backup]
        assert http.get("/restore-jobs").json()["data"] == [job]
        assert names(http) == ["again", "docs"]
    assert server.stop() == 0


@pytest.mark.data_folder
def test_a_key_sees_only_backups_of_its_own_indexes_and_only_as_a_whole(tmp_path: Path) -> None:
    data = tmp_path / "data"
    master = keys.create(data, "master")
    mine = keys.create(data, "mine", keys.Limits(("read", "control"), ("mine", "copy")))
    part = keys.create(data, "part", keys.Limits(("read", "control"), None, ("n",)))
    server = RunningServer(config(tmp_path), data, "--index-ports", free_ports(6))
    with server.client() as http:
        http.headers["Api-Key"] = master
        made = {}
        for name in ("mine", "other"):
            body = {"name": name, **PLACE, "embed": EMBED}
            http.post("/indexes/create-for-model", json=body).raise_for_status()
            made[name] = backed_up(http, name)
        http.headers["Api-Key"] = mine
        assert http.get("/backups").json()["data"] == [made["mine"]]
        hidden = made["other"]["backup_id"]
        for method, path, body in (
            ("GET", f"/backups/{hidden}", None),
            ("DELETE", f"/backups/{hidden}", None),
            ("POST", f"/backups/{hidden}/create-index", {"name": "copy"}),
        ):
            unknown = http.request(method, path.replace(hidden, "0" * len(hidden)), json=body)
            assert http.request(method, path, json=body).text == unknown.text.replace("0" * len(hidden), hidden)
        outside = http.post(f"/backups/{made['mine']['backup_id']}/create-index", json={"name": "elsewhere"})
        assert outside.status_code == 403
        assert restored(http, made["mine"], name="copy")["status"] == "Completed"
        http.headers["Api-Key"] = part
        assert (http.get("/backups").json()["data"], http.get("/restore-jobs").json()["data"]) == ([], [])
        assert http.get(f"/backups/{made['mine']['backup_id']}").status_code == 404
        http.headers["Api-Key"] = master
        assert [job["target_index_name"] for job in http.get("/restore-jobs").json()["data"]] == ["copy"]
    assert server.stop() == 0


def page(http: httpx.Client, backup: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = http.post(f"/backups/{backup['backup_id']}/records", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_the_records_of_a_backup_are_read_in_pages_with_or_without_their_vectors(http: httpx.Client) -> None:
    docs = created(http)
    backup = backed_up(http)
    http.post(f"{docs}/vectors/delete", json={"namespace": "n", "deleteAll": True}).raise_for_status()
    told = http.get(f"/backups/{backup['backup_id']}/namespaces").json()
    assert told == {"namespaces": [{"name": "m", "record_count": 1}, {"name": "n", "record_count": 2}]}
    first = page(http, backup, namespace="n", limit=1)
    assert first["records"] == [{"id": "a", "metadata": {"text": "text of a"}}]
    token = first["pagination"]["next"]
    second = page(http, backup, namespace="n", limit=1, pagination_token=token, include_values=True)
    (b,) = second["records"]
    assert (b["id"], len(b["values"]), "pagination" in second) == ("b", backup["dimension"], False)
    matching = page(http, backup, namespace="n", filter={"text": {"$eq": "text of b"}})
    assert [each["id"] for each in matching["records"]] == ["b"]
    assert page(http, backup) == {"records": []}


def test_a_page_of_a_backup_that_is_asked_for_wrongly_is_refused(http: httpx.Client) -> None:
    created(http)
    path = f"/backups/{backed_up(http)['backup_id']}/records"
    for body in ({"filter": {"a": {"$near": 1}}}, {"limit": 0}, {"pagination_token": "x"}, {"namespace": "\u00e9"}):
        refusal(http.post(path, json=body), 400)
    for path in ("/backups/none/namespaces", "/backups/none/records"):
        assert http.request("POST" if path.endswith("records") else "GET", path).status_code == 404
