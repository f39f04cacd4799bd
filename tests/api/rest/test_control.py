"""The control plane: indexes made, described, changed and deleted, in the shapes of both families of versions."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.running import ENGINE, RunningServer, config, free_ports

OLD, NEW = "2025-10", "2026-07"
PLACE = {"cloud": "aws", "region": "us-east-1"}
SPEC = {"serverless": PLACE}
LARGEST = {"sqlite": 8192, "postgres": 16_000}[ENGINE]
"""Numbers of a dense vector."""


@pytest.fixture
def control(control_server: RunningServer) -> Iterator[httpx.Client]:
    with control_server.client() as client:
        yield client


@pytest.fixture
def name(control: httpx.Client) -> Iterator[str]:
    """A name for an index, which is deleted afterwards."""
    chosen = f"idx-{uuid4().hex[:12]}"
    yield chosen
    control.patch(f"/indexes/{chosen}", json={"deletion_protection": "disabled"})
    control.delete(f"/indexes/{chosen}")


def create(control: httpx.Client, version: str = OLD, path: str = "/indexes", **body: Any) -> dict[str, Any]:
    answer = control.post(path, json=body, headers={"X-Pinecone-Api-Version": version})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    described = control.get(f"/indexes/{made['name']}", headers={"X-Pinecone-Api-Version": version})
    listed = control.get("/indexes", headers={"X-Pinecone-Api-Version": version}).json()["indexes"]
    (again,) = [one for one in listed if one["name"] == made["name"]]
    for found in (described.json(), again):  # its model may have been loaded meanwhile
        assert {**found, "status": None} == {**made, "status": None}
    return made


def refused(answer: httpx.Response, status: int, code: str) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert (body["error"]["code"], body["status"]) == (code, status)
    message: str = body["error"]["message"]
    return message


def test_a_dense_index_is_ready_at_once(control: httpx.Client, name: str) -> None:
    made = create(control, name=name, dimension=3, spec=SPEC)
    assert (made["dimension"], made["metric"], made["vector_type"]) == (3, "cosine", "dense")
    assert made["status"] == {"ready": True, "state": "Ready"}
    assert made["deletion_protection"] == "disabled"
    assert made["spec"]["serverless"]["read_capacity"] == {"mode": "OnDemand", "status": {"state": "Ready"}}
    with httpx.Client(base_url=made["host"], timeout=60) as index:
        vector = {"id": "a", "values": [1, 2, 3]}
        assert index.post("/vectors/upsert", json={"vectors": [vector]}).json() == {"upsertedCount": 1}
        assert index.post("/describe_index_stats").json()["totalVectorCount"] == 1
    assert control.delete(f"/indexes/{name}").status_code == 202
    assert refused(control.get(f"/indexes/{name}"), 404, "NOT_FOUND") == f"Index {name} not found."
    gone = httpx.post(f"{made['host']}/describe_index_stats", timeout=60)
    assert (gone.status_code, gone.json()["code"]) == (404, 5)
    create(control, name=name, dimension=2, spec=SPEC)
    assert httpx.post(f"{made['host']}/describe_index_stats", timeout=60).json()["totalVectorCount"] == 0


def test_a_sparse_index_has_no_dimension(control: httpx.Client, name: str) -> None:
    made = create(control, name=name, vector_type="sparse", spec=SPEC)
    assert (made["metric"], made["vector_type"], "dimension" in made) == ("dotproduct", "sparse", False)


def test_everything_that_is_said_comes_back(control: httpx.Client, name: str) -> None:
    schema = {"fields": {"genre": {"filterable": True}}}
    capacity = {
        "mode": "Dedicated",
        "dedicated": {"node_type": "b1", "scaling": "Manual", "manual": {"shards": 1, "replicas": 2}},
    }
    serverless = {"cloud": "gcp", "region": "europe-west4", "schema": schema, "read_capacity": capacity}
    tags = {"team": "search", "env": "dev"}
    made = create(
        control,
        name=name,
        dimension=8,
        metric="euclidean",
        spec={"serverless": serverless},
        tags=tags,
        deletion_protection="enabled",
    )
    assert made["tags"] == tags
    assert made["deletion_protection"] == "enabled"
    held = made["spec"]["serverless"]
    assert (held["cloud"], held["region"], held["schema"]) == ("gcp", "europe-west4", schema)
    assert held["read_capacity"]["dedicated"] == capacity["dedicated"]
    assert held["read_capacity"]["status"]["state"] == "Ready"


@pytest.mark.parametrize(
    ("model", "dimension", "metric"),
    [
        ("multilingual-e5-large", 1024, "cosine"),
        ("llama-text-embed-v2", 1024, "cosine"),
        ("pinecone-sparse-english-v0", None, "dotproduct"),
    ],
)
def test_an_index_for_a_model_takes_its_shape_from_it(
    control: httpx.Client, name: str, model: str, dimension: int | None, metric: str
) -> None:
    embed = {"model": model, "field_map": {"text": "chunk"}}
    made = create(control, path="/indexes/create-for-model", name=name, **PLACE, embed=embed)
    assert (made.get("dimension"), made["metric"]) == (dimension, metric)
    assert (made["embed"]["model"], made["embed"]["field_map"]) == (model, {"text": "chunk"})
    assert made["embed"]["read_parameters"]["input_type"] == "query"
    assert made["embed"]["write_parameters"]["input_type"] == "passage"
    new = control.get(f"/indexes/{name}", headers={"X-Pinecone-Api-Version": NEW}).json()
    field = new["schema"]["fields"]["chunk"]
    assert (field["type"], field["model"], field["dimension"]) == ("semantic_text", model, dimension)
    with httpx.Client(base_url=made["host"], timeout=60) as index:
        assert index.post("/records/namespaces/n/upsert", json={"_id": "a", "chunk": "apples"}).status_code == 201
        found = index.post("/records/namespaces/n/search", json={"query": {"top_k": 1, "inputs": {"text": "apples"}}})
        assert [hit["_id"] for hit in found.json()["result"]["hits"]] == ["a"]


def test_a_smaller_dimension_of_a_model_can_be_chosen(control: httpx.Client, name: str) -> None:
    embed = {"model": "llama-text-embed-v2", "field_map": {"text": "t"}, "dimension": 384, "metric": "dotproduct"}
    made = create(control, path="/indexes/create-for-model", name=name, **PLACE, embed=embed)
    assert (made["dimension"], made["metric"]) == (384, "dotproduct")


def test_new_clients_see_a_schema_and_a_deployment(control: httpx.Client, name: str) -> None:
    fields = {"_values": {"type": "dense_vector", "dimension": 4, "metric": "Cosine"}}
    made = create(control, NEW, name=name, schema={"fields": fields}, tags={"a": "b"})
    assert made == {
        "name": name,
        "host": made["host"],
        "status": {"ready": True, "state": "Ready"},
        "deployment": {"deployment_type": "managed", **PLACE},
        "read_capacity": {"mode": "OnDemand", "status": {"state": "Ready"}},
        "schema": {
            "fields": {
                "_values": {"type": "dense_vector", "dimension": 4, "metric": "cosine"},
                "_sparse_values": {"type": "sparse_vector"},
            }
        },
        "tags": {"a": "b"},
        "deletion_protection": "disabled",
    }
    old = control.get(f"/indexes/{name}", headers={"X-Pinecone-Api-Version": OLD}).json()
    assert (old["dimension"], old["metric"], old["spec"]["serverless"]["cloud"]) == (4, "cosine", "aws")


def test_a_new_client_may_leave_the_name_to_us_and_make_sparse_indexes(control: httpx.Client) -> None:
    made = create(control, NEW, schema={"fields": {"_sparse_values": {"type": "sparse_vector"}}})
    assert made["schema"]["fields"] == {"_sparse_values": {"type": "sparse_vector"}}
    assert made["tags"] is None
    assert control.delete(f"/indexes/{made['name']}").status_code == 202


@pytest.mark.parametrize("version", [OLD, NEW])
def test_tags_are_merged_and_protection_protects(control: httpx.Client, name: str, version: str) -> None:
    create(control, name=name, dimension=2, spec=SPEC, tags={"a": "1", "b": "2"})

    def patch(**body: Any) -> dict[str, Any]:
        answer = control.patch(f"/indexes/{name}", json=body, headers={"X-Pinecone-Api-Version": version})
        assert answer.status_code == 200, answer.text
        assert answer.json() == control.get(f"/indexes/{name}", headers={"X-Pinecone-Api-Version": version}).json()
        changed: dict[str, Any] = answer.json()
        return changed

    assert patch(tags={"b": "", "c": "3"})["tags"] == {"a": "1", "c": "3"}
    assert patch(deletion_protection="enabled")["tags"] == {"a": "1", "c": "3"}
    message = refused(control.delete(f"/indexes/{name}"), 403, "FORBIDDEN")
    assert message.startswith("Deletion protection is enabled for this index.")
    assert patch(deletion_protection="disabled")["deletion_protection"] == "disabled"
    assert patch(tags={"a": "", "c": ""})["tags"] is None
    assert control.delete(f"/indexes/{name}").status_code == 202


def test_a_model_can_be_added_and_its_parameters_changed_but_not_the_model(control: httpx.Client, name: str) -> None:
    create(control, name=name, dimension=64, spec=SPEC)
    path = f"/indexes/{name}"
    embed = {"model": "pinyon-hash-embed", "field_map": {"text": "body"}}
    made = control.patch(path, json={"embed": embed}).json()
    assert made["embed"]["field_map"] == {"text": "body"}
    with httpx.Client(base_url=made["host"], timeout=60) as index:
        assert index.post("/records/namespaces/n/upsert", json={"_id": "a", "body": "apples"}).status_code == 201
    changed = control.patch(path, json={"embed": {"read_parameters": {"truncate": "NONE"}}}).json()["embed"]
    assert (changed["read_parameters"]["truncate"], changed["write_parameters"]["truncate"]) == ("NONE", "END")
    field = {"type": "semantic_text", "write_parameters": {"truncate": "NONE"}}
    changed = control.patch(path, json={"schema": {"fields": {"body": field}}}).json()["embed"]
    assert (changed["read_parameters"]["truncate"], changed["write_parameters"]["truncate"]) == ("NONE", "NONE")
    other = control.patch(path, json={"embed": {"model": "multilingual-e5-large"}})
    assert "cannot be changed" in refused(other, 400, "INVALID_ARGUMENT")


def test_the_index_of_the_settings_answers_on_the_main_port(control: httpx.Client) -> None:
    found = control.get("/indexes/quickstart").json()
    assert found["host"] == str(control.base_url).rstrip("/").replace("127.0.0.1", "localhost")
    refusal = control.patch("/indexes/quickstart", json={"embed": {"read_parameters": {"truncate": "NONE"}}})
    assert "described in the settings file" in refused(refusal, 400, "INVALID_ARGUMENT")


def test_hosts_are_those_the_caller_can_reach(control: httpx.Client, name: str) -> None:
    made = create(control, name=name, dimension=2, spec=SPEC)
    other = control.get(f"/indexes/{name}", headers={"Host": "127.0.0.1:1"}).json()
    assert other["host"] == made["host"].replace("localhost", "127.0.0.1")


def dense(**more: Any) -> dict[str, Any]:
    return {"name": "refused", "dimension": 2, "spec": SPEC, **more}


def for_model(**more: Any) -> dict[str, Any]:
    embed = {"model": "multilingual-e5-large", "field_map": {"text": "t"}, **more}
    return {"name": "refused", **PLACE, "embed": embed}


def with_schema(fields: Any, **more: Any) -> dict[str, Any]:
    return {"name": "refused", "schema": {"fields": fields}, **more}


REFUSED: list[tuple[str, str, str, Any, int, str, str]] = [
    ("twice", OLD, "/indexes", dense(name="quickstart"), 409, "ALREADY_EXISTS", "Resource already exists."),
    ("hyphen at the end", OLD, "/indexes", dense(name="name-"), 400, "INVALID_ARGUMENT", "alphanumeric character"),
    ("upper case", OLD, "/indexes", dense(name="Name"), 400, "INVALID_ARGUMENT", "alphanumeric character"),
    ("long name", OLD, "/indexes", dense(name="n" * 46), 400, "INVALID_ARGUMENT", "1 to 45 characters"),
    ("reserved", OLD, "/indexes", dense(name="create-for-model"), 400, "INVALID_ARGUMENT", "create-for-model"),
    ("no name", OLD, "/indexes", {"dimension": 2, "spec": SPEC}, 422, "UNPROCESSABLE_ENTITY", "missing required field `name`"),
    ("no spec", OLD, "/indexes", {"name": "refused", "dimension": 2}, 422, "UNPROCESSABLE_ENTITY", "missing required field `spec`"),
    ("text dimension", OLD, "/indexes", dense(dimension="2"), 422, "UNPROCESSABLE_ENTITY", "Expected `int | null`, got `str`"),
    ("not json", OLD, "/indexes", b"{", 422, "UNPROCESSABLE_ENTITY", "not valid JSON"),
    ("dimension 0", OLD, "/indexes", dense(dimension=0), 400, "INVALID_ARGUMENT", f"between 1 and {LARGEST}"),
    ("dimension large", OLD, "/indexes", dense(dimension=20_001), 400, "INVALID_ARGUMENT", f"between 1 and {LARGEST}"),
    ("no dimension", OLD, "/indexes", {"name": "refused", "spec": SPEC}, 400, "INVALID_ARGUMENT", "needs a dimension"),
    ("metric", OLD, "/indexes", dense(metric="hamming"), 400, "INVALID_ARGUMENT", "cosine, dotproduct, euclidean"),
    ("sparse cosine", OLD, "/indexes", {"name": "refused", "spec": SPEC, "vector_type": "sparse", "metric": "cosine"}, 400, "INVALID_ARGUMENT", "dotproduct"),
    ("sparse dimension", OLD, "/indexes", dense(vector_type="sparse"), 400, "INVALID_ARGUMENT", "no dimension"),
    ("vector type", OLD, "/indexes", dense(vector_type="fuzzy"), 400, "INVALID_ARGUMENT", "dense or sparse"),
    ("pod", OLD, "/indexes", dense(spec={"pod": {"environment": "x"}}), 400, "INVALID_ARGUMENT", "serverless"),
    ("collection", OLD, "/indexes", dense(spec={"serverless": {**PLACE, "source_collection": "c1"}}), 400, "INVALID_ARGUMENT", "Resource c1 not found"),
    ("cloud", OLD, "/indexes", dense(spec={"serverless": {"cloud": "moon", "region": "x"}}), 404, "NOT_FOUND", "Resource cloud: moon region: x not found."),
    ("schema", OLD, "/indexes", dense(spec={"serverless": {**PLACE, "schema": {"genre": {}}}}), 422, "UNPROCESSABLE_ENTITY", "missing required field `fields`"),
    ("filterable", OLD, "/indexes", dense(spec={"serverless": {**PLACE, "schema": {"fields": {"g": {"filterable": False}}}}}), 400, "INVALID_ARGUMENT", "filterable: true"),
    ("many fields", OLD, "/indexes", dense(spec={"serverless": {**PLACE, "schema": {"fields": {f"f{n}": {"filterable": True} for n in range(51)}}}}), 400, "INVALID_ARGUMENT", "at most 50 fields"),
    ("field name", OLD, "/indexes", dense(spec={"serverless": {**PLACE, "schema": {"fields": {"_b": {"filterable": True}}}}}), 400, "INVALID_ARGUMENT", "does not begin with _ or $"),
    ("capacity", OLD, "/indexes", dense(spec={"serverless": {**PLACE, "read_capacity": {"mode": "Fast"}}}), 400, "INVALID_ARGUMENT", "OnDemand"),
    ("tag key", OLD, "/indexes", dense(tags={"a b": "c"}), 400, "INVALID_ARGUMENT", "Tag key 'a b'"),
    ("tag value", OLD, "/indexes", dense(tags={"a": "v" * 121}), 400, "INVALID_ARGUMENT", "at most 120"),
    ("tags", OLD, "/indexes", dense(tags={f"t{n}": "v" for n in range(21)}), 400, "INVALID_ARGUMENT", "at most 20 tags"),
    ("protection", OLD, "/indexes", dense(deletion_protection="perhaps"), 400, "INVALID_ARGUMENT", "Invalid deletion_protection"),
    ("model", OLD, "/indexes/create-for-model", for_model(model="nope"), 404, "NOT_FOUND", "Model nope not found."),
    ("reranker", OLD, "/indexes/create-for-model", for_model(model="bge-reranker-v2-m3"), 404, "NOT_FOUND", "available for embed"),
    ("model metric", OLD, "/indexes/create-for-model", for_model(metric="dotproduct"), 400, "INVALID_ARGUMENT", "does not support the metric dotproduct"),
    ("model dimension", OLD, "/indexes/create-for-model", for_model(dimension=384), 400, "INVALID_ARGUMENT", "has dimension 1024, not 384"),
    ("field map", OLD, "/indexes/create-for-model", for_model(field_map={"title": "t"}), 400, "INVALID_ARGUMENT", "Missing required key 'text'"),
    ("field", OLD, "/indexes/create-for-model", for_model(field_map={"text": "_id"}), 400, "INVALID_ARGUMENT", "a field that a record can have"),
    ("parameter", OLD, "/indexes/create-for-model", for_model(read_parameters={"x": 1}), 400, "INVALID_ARGUMENT", "Unknown parameter 'x'"),
    ("truncate", OLD, "/indexes/create-for-model", for_model(read_parameters={"truncate": "START"}), 400, "INVALID_ARGUMENT", "one of END, NONE"),
    ("no embed", OLD, "/indexes/create-for-model", {"name": "refused", **PLACE}, 422, "UNPROCESSABLE_ENTITY", "`embed`"),
    ("old shape", NEW, "/indexes", dense(), 422, "UNPROCESSABLE_ENTITY", "missing required field `schema`"),
    ("documents", NEW, "/indexes", with_schema({"title": {"type": "string", "full_text_search": {}}}), 400, "INVALID_ARGUMENT", "Documents API, are not supported"),
    ("no fields", NEW, "/indexes", with_schema({}), 400, "INVALID_ARGUMENT", "no field"),
    ("field type", NEW, "/indexes", with_schema({"_values": {"type": "sparse_vector"}}), 400, "INVALID_ARGUMENT", "must have the type dense_vector"),
    ("no metric", NEW, "/indexes", with_schema({"_values": {"type": "dense_vector", "dimension": 2}}), 400, "INVALID_ARGUMENT", "needs a dimension and a metric"),
    ("cmek", NEW, "/indexes", with_schema({"_sparse_values": {"type": "sparse_vector"}}, cmek_id="k"), 400, "INVALID_ARGUMENT", "cmek_id"),
    ("byoc", NEW, "/indexes", with_schema({"_sparse_values": {"type": "sparse_vector"}}, deployment={"deployment_type": "byoc", "environment": "e"}), 400, "INVALID_ARGUMENT", "managed"),
    ("collections", OLD, "/collections", {"name": "c", "source": "quickstart"}, 400, "INVALID_ARGUMENT", "Cannot create collections from serverless indexes"),
]  # fmt: skip


@pytest.mark.parametrize(("version", "path", "body", "status", "code", "message"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])  # fmt: skip
def test_a_wrong_request_is_refused_with_the_reason_and_makes_nothing(
    control: httpx.Client, version: str, path: str, body: Any, status: int, code: str, message: str
) -> None:
    headers = {"X-Pinecone-Api-Version": version}
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    assert message in refused(control.post(path, headers=headers, **sent), status, code)
    assert control.get("/indexes/refused").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"dimension": 3}, 422, "unknown field `dimension`"),
        ({"spec": {"pod": {"replicas": 2}}}, 400, "no pod index"),
        ({"deployment": {"replicas": 2}}, 400, "cannot be changed"),
        ({"schema": {"fields": {"a": {"type": "dense_vector"}}}}, 400, "semantic_text"),
        ({"embed": {"field_map": {"text": "t"}}}, 400, "must name the model"),
        ({"embed": {"model": "multilingual-e5-large", "field_map": {"text": "t"}}}, 400, "has dimension 1024"),
        ({"embed": {"model": "pinecone-sparse-english-v0", "field_map": {"text": "t"}}}, 400, "sparse"),
        ({"read_capacity": {"mode": "Dedicated"}}, 400, "dedicated"),
        ({"tags": {"a": 1}}, 422, "Expected `str`"),
        ({"embed": {"model": ["x"]}}, 422, "Expected `str | null`"),
        ({"embed": {"model": "pinyon-hash-embed", "field_map": {"text": 5}}}, 422, "Expected `str`"),
        ({"embed": {"model": "pinyon-hash-embed", "read_parameters": "x"}}, 422, "Expected `object | null`"),
        ({"schema": {"fields": {"a": {"type": "semantic_text", "model": {"a": 1}}}}}, 400, "The field 'a' is wrong"),
        (
            {
                "read_capacity": {
                    "mode": "Dedicated",
                    "dedicated": {"node_type": "b1", "scaling": "Manual", "manual": [1]},
                }
            },
            400,
            "must be an object",
        ),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(
    control: httpx.Client, name: str, body: Any, status: int, message: str
) -> None:
    made = create(control, name=name, dimension=2, spec=SPEC)
    answer = control.patch(f"/indexes/{name}", json=body)
    code = "INVALID_ARGUMENT" if status == 400 else "UNPROCESSABLE_ENTITY"
    assert message in refused(answer, status, code)
    assert control.get(f"/indexes/{name}", headers={"X-Pinecone-Api-Version": OLD}).json() == made


def test_unknown_indexes_and_collections_are_404(control: httpx.Client) -> None:
    for method in ("GET", "DELETE"):
        assert refused(control.request(method, "/indexes/nope"), 404, "NOT_FOUND") == "Index nope not found."
        refused(control.request(method, "/collections/nope"), 404, "NOT_FOUND")
    refused(control.patch("/indexes/nope", json={"tags": {}}), 404, "NOT_FOUND")
    assert control.get("/collections").json() == {"collections": []}


def test_what_the_settings_describe_cannot_be_made_otherwise(tmp_path: Path) -> None:
    server = RunningServer(config(tmp_path), tmp_path / "data")
    with server.client() as client:
        assert client.delete("/indexes/quickstart").status_code == 202
        body = {"name": "quickstart", "dimension": 8, "spec": SPEC}
        message = refused(client.post("/indexes", json=body), 400, "FAILED_PRECONDITION")
        assert "differs from the settings" in message
    server.stop()
    server = RunningServer(config(tmp_path), tmp_path / "data")  # it starts, and has made it anew
    with server.client() as client:
        assert client.post("/describe_index_stats").json()["totalVectorCount"] == 0
    server.stop()


def test_a_mix_that_the_settings_name_is_changed_nowhere_else(tmp_path: Path) -> None:
    settings = config(tmp_path, more="read_parameters = { mix = { words = 2 } }\n")
    curves = {"hybrid": [[0.0, 0.1], [1.0, 0.9]]}
    server = RunningServer(settings, tmp_path / "data")
    with server.client() as client:

        def change(**read: Any) -> httpx.Response:
            return client.patch("/indexes/quickstart", json={"embed": {"read_parameters": read}})

        for mix in (None, {"words": 4}):
            message = refused(change(mix=mix, calibration=curves), 400, "INVALID_ARGUMENT")
            assert "The settings file names the mix" in message
        assert change(mix={"words": 2}, calibration=curves).status_code == 200
    server.stop()
    server = RunningServer(settings, tmp_path / "data")  # a calibration that the settings do not name is no difference
    with server.client() as client:
        read = client.get("/indexes/quickstart").json()["embed"]["read_parameters"]
        assert (read["mix"]["words"], read["calibration"]) == (2, curves)
    server.stop()


def test_changing_parameters_does_not_disturb_upserts(control: httpx.Client, name: str) -> None:
    embed = {"model": "pinyon-hash-embed", "field_map": {"text": "t"}}
    made = create(control, path="/indexes/create-for-model", name=name, **PLACE, embed=embed)
    writing, stop, statuses = threading.Event(), threading.Event(), set[int]()

    def write() -> None:
        with httpx.Client(base_url=made["host"], timeout=60) as index:
            while not stop.is_set():
                statuses.add(index.post("/records/namespaces/n/upsert", json={"_id": "a", "t": "x"}).status_code)
                writing.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert writing.wait(60)
    for n in range(20):
        truncate = "NONE" if n % 2 else "END"
        change = {"embed": {"read_parameters": {"truncate": truncate}}}
        assert control.patch(f"/indexes/{name}", json=change).status_code == 200
    stop.set()
    writer.join()
    assert statuses == {201}


def test_a_model_of_other_vectors_cannot_be_added(control: httpx.Client, name: str) -> None:
    create(control, name=name, vector_type="sparse", spec=SPEC)
    change = {"embed": {"model": "pinyon-hash-embed", "field_map": {"text": "t"}}}
    answer = control.patch(f"/indexes/{name}", json=change)
    assert "has other vectors than this index" in refused(answer, 400, "INVALID_ARGUMENT")


def test_the_record_that_is_too_long_is_named_in_a_large_batch(control: httpx.Client, name: str) -> None:
    embed = {"model": "pinyon-hash-embed", "field_map": {"text": "t"}, "write_parameters": {"truncate": "NONE"}}
    made = create(control, path="/indexes/create-for-model", name=name, **PLACE, embed=embed)
    rows = [{"_id": f"r{n}", "t": "word " * (300 if n == 70 else 3)} for n in range(96)]
    with httpx.Client(base_url=made["host"], timeout=60) as index:
        answer = index.post("/records/namespaces/n/upsert", json=rows)
        assert answer.status_code == 400
        assert "record 'r70' has 300 tokens" in answer.json()["message"]
        assert index.post("/describe_index_stats").json()["totalVectorCount"] == 0


def test_of_a_text_with_too_many_words_the_heaviest_are_kept(tmp_path: Path) -> None:
    server = RunningServer(config(tmp_path), tmp_path / "data", "--index-ports", free_ports(1), "--sparse-terms", "2")
    embed = {"model": "pinyon-bm25", "field_map": {"text": "t"}}
    with server.client() as control:
        made = create(control, path="/indexes/create-for-model", name="words", **PLACE, embed=embed)
    with httpx.Client(base_url=made["host"], timeout=60) as index:
        text = "apple apple apple pear pear plum"
        assert index.post("/records/namespaces/n/upsert", json={"_id": "a", "t": text}).status_code == 201
        found = {}
        for word in ("apple", "pear", "plum"):
            answer = index.post("/records/namespaces/n/search", json={"query": {"top_k": 1, "inputs": {"text": word}}})
            found[word] = len(answer.json()["result"]["hits"])
    assert found == {"apple": 1, "pear": 1, "plum": 0}
    server.stop()
