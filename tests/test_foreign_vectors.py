"""Vectors that a caller brings into an index that embeds text: they never meet those of another model silently."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from transformers import XLMRobertaConfig, XLMRobertaModel

from tests.api.grpc_transport import asking
from tests.inference import tiny_cross_encoder
from tests.running import RunningServer, config, free_ports

E5, HASH = "multilingual-e5-large", "pinyon-hash-embed"
EMBED = {"model": E5, "field_map": {"text": "chunk_text"}}


class Index:
    """An index of a server, asked over one of the protocols where both have it. url: of another than its first one."""

    def __init__(self, server: RunningServer, dimension: int, protocol: str = "rest", url: str = "") -> None:
        self.url, self.dimension, self.protocol = url or server.url, dimension, protocol
        self.namespace = f"ns-{uuid4().hex[:12]}"

    def ask(self, path: str, body: Any) -> httpx.Response:
        protocol = "rest" if path.startswith("/records") else self.protocol
        with asking(self.url, protocol) as client:
            return client.post(path, json=body)

    def bring(self, *ids: str) -> httpx.Response:
        """Vectors of the caller's own, with their texts."""
        vectors = [
            {"id": id, "values": [1.0] + [0.5] * (self.dimension - 1), "metadata": {"chunk_text": f"a text of {id}"}}
            for id in ids
        ]
        return self.ask("/vectors/upsert", {"vectors": vectors, "namespace": self.namespace})

    def write(self, *ids: str) -> httpx.Response:
        """Texts, which the index embeds."""
        rows = "\n".join(json.dumps({"_id": id, "chunk_text": f"a text of {id}"}) for id in ids)
        with asking(self.url, "rest") as client:
            return client.post(f"/records/namespaces/{self.namespace}/upsert", content=rows)

    def search(self, **query: Any) -> httpx.Response:
        asked = query or {"inputs": {"text": "a text"}}
        return self.ask(f"/records/namespaces/{self.namespace}/search", {"query": {"top_k": 5, **asked}})

    def delete(self, *ids: str) -> None:
        answer = self.ask("/vectors/delete", {"ids": list(ids), "namespace": self.namespace})
        assert answer.status_code == 200, answer.text

    def stats(self) -> dict[str, int]:
        """What the statistics say of the namespace."""
        with asking(self.url, "rest") as client:
            found: dict[str, int] = client.post("/describe_index_stats").json()["namespaces"][self.namespace]
        return found


def hits(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return sorted(hit["_id"] for hit in answer.json()["result"]["hits"])


def foreign_in(named: Any) -> Any:
    """What headers or statistics say of foreign vectors, or None."""
    return next((value for name, value in named.items() if "foreign" in name.lower()), None)


def says_so(answer: httpx.Response) -> bool:
    return foreign_in(answer.headers) is not None


def assert_refused(*answers: httpx.Response) -> None:
    """The first of them that is refused says what to do; one is."""
    refused = next((answer for answer in answers if answer.status_code != 200), answers[-1])
    assert refused.status_code == 400, refused.text
    assert refused.json()["code"] in (3, 9)
    message = refused.json()["message"]
    assert "pinyon reembed" in message
    assert "mix" in message, "and how to have it all the same"


@pytest.fixture(params=["rest", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


def stand_in_config(folder: Path, more: str = "quick = true") -> Path:
    """Settings with an index for a model whose weights are not here. more: of the models. quick: hashing stands in."""
    path = config(folder, E5)
    path.write_text(path.read_text().replace("stand_ins = true", f"stand_ins = true\n{more}"))
    return path


def mixing_config(folder: Path) -> Path:
    return stand_in_config(folder, "quick = true\nmix = true")


@pytest.fixture(scope="module")
def standing_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Its index is for a model whose weights are not here; another one stands in."""
    folder = tmp_path_factory.mktemp("standing-in")
    server = RunningServer(stand_in_config(folder), folder / "data", "--index-ports", free_ports(2))
    yield server
    assert server.stop() == 0, server.text


@pytest.fixture(scope="module")
def mixing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The same, told to mix."""
    folder = tmp_path_factory.mktemp("mixing")
    server = RunningServer(mixing_config(folder), folder / "data", "--index-ports", free_ports(3))
    yield server
    assert server.stop() == 0, server.text


def test_vectors_brought_to_a_stand_in_are_refused_with_the_way_out(standing_in: RunningServer, protocol: str) -> None:
    index = Index(standing_in, 1024, protocol)
    assert_refused(index.bring("a", "b"), index.search())


def test_it_does_not_matter_which_were_there_first(standing_in: RunningServer, protocol: str) -> None:
    index = Index(standing_in, 1024, protocol)
    assert index.write("own").status_code == 201
    assert hits(index.search()) == ["own"]
    assert_refused(index.bring("a"), index.search())


def test_values_that_an_update_gives_are_brought_too(standing_in: RunningServer, protocol: str) -> None:
    index = Index(standing_in, 1024, protocol)
    assert index.write("own").status_code == 201
    change = {"id": "own", "values": [1.0] + [0.5] * 1023, "namespace": index.namespace}
    assert_refused(index.ask("/vectors/update", change), index.search())


def test_a_text_is_not_stored_beside_them_silently(standing_in: RunningServer) -> None:
    index = Index(standing_in, 1024)
    brought = index.bring("a")
    if brought.status_code == 200:  # else they never meet
        stored = index.write("own")
        assert says_so(stored) or "pinyon reembed" in stored.text, stored.text


def test_what_compares_no_text_with_them_goes_on(standing_in: RunningServer) -> None:
    index = Index(standing_in, 1024)
    if index.bring("a", "b").status_code == 200:
        assert hits(index.search(id="a")) == ["a", "b"]
        assert hits(index.search(vector={"values": [1.0] * 1024})) == ["a", "b"]
        assert hits(index.search(inputs={"text": "a text of a", "retrieval": "lexical"})) == ["a", "b"]
        asked = {"vector": [1.0] * 1024, "topK": 5, "namespace": index.namespace}
        assert len(index.ask("/query", asked).json()["matches"]) == 2


def test_a_hybrid_search_compares_text_with_them_too(standing_in: RunningServer) -> None:
    index = Index(standing_in, 1024)
    assert_refused(index.bring("a"), index.search(inputs={"text": "a text", "retrieval": "hybrid"}))


def test_once_they_are_gone_texts_are_searched_again(standing_in: RunningServer, protocol: str) -> None:
    index = Index(standing_in, 1024, protocol)
    if index.bring("a", "b").status_code == 200:
        index.delete("a")
        assert index.search().status_code == 400, "one is left"
        index.delete("b")
        assert not foreign_in(index.stats())
        assert index.write("own").status_code == 201
        found = index.search()
        assert hits(found) == ["own"]
        assert not says_so(found)


def test_a_record_that_is_embedded_after_all_is_foreign_no_more(mixing: RunningServer, protocol: str) -> None:
    index = Index(mixing, 1024, protocol)
    assert index.bring("a", "b").status_code == 200
    assert index.write("a").status_code == 201
    assert foreign_in(index.stats()) == 1
    assert says_so(index.search())
    assert index.write("b").status_code == 201
    assert not foreign_in(index.stats())
    assert not says_so(index.search())


def test_where_mixing_is_wanted_a_search_says_so_in_a_header_in_the_log_and_in_the_statistics(
    mixing: RunningServer, protocol: str
) -> None:
    index = Index(mixing, 1024, protocol)
    assert index.write("own").status_code == 201
    before = index.search()
    assert hits(before) == ["own"]
    assert not says_so(before)
    assert not foreign_in(index.stats())
    assert index.bring("a", "b").status_code == 200
    found = index.search()
    assert hits(found) == ["a", "b", "own"]
    assert says_so(found)
    assert foreign_in(index.stats()) == 2
    warned = [line for line in mixing.output if "WARNING" in line and "foreign" in line.lower()]
    assert any("quickstart" in line for line in warned), mixing.text
    assert says_so(index.search()), "each search does"
    more = [line for line in mixing.output if "WARNING" in line and "foreign" in line.lower()]
    assert len(more) == len(warned), "the log says it once"


def test_a_search_that_compares_no_text_has_nothing_to_say(mixing: RunningServer) -> None:
    index = Index(mixing, 1024)
    assert index.bring("a").status_code == 200
    for query in ({"id": "a"}, {"vector": {"values": [1.0] * 1024}}):
        assert not says_so(index.search(**query))


def test_a_model_that_answers_itself_may_meet_them(hash_server: RunningServer, protocol: str) -> None:
    """They were made by it, as far as anybody knows: this is how an index is moved here."""
    index = Index(hash_server, 64, protocol)
    assert index.write("own").status_code == 201
    assert index.bring("a").status_code == 200
    found = index.search()
    assert hits(found) == ["a", "own"]
    assert not says_so(found)


@pytest.mark.slow
def test_other_weights_under_the_models_name_say_so(tmp_path: Path) -> None:
    weights = tiny_cross_encoder.make(tmp_path / "weights")  # for its tokenizer
    layers = XLMRobertaConfig(
        vocab_size=160, hidden_size=1024, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=600, type_vocab_size=1, bos_token_id=0, pad_token_id=1, eos_token_id=2,
    )  # fmt: skip
    XLMRobertaModel(layers).save_pretrained(weights)
    path = config(tmp_path, E5)
    text = path.read_text().replace("[index]", f'[models.paths]\n{E5} = "{weights}"\n\n[index]')
    path.write_text(text.replace("stand_ins = true", "stand_ins = false"))
    server = RunningServer(path, tmp_path / "data")
    index = Index(server, 1024)
    assert index.write("own").status_code == 201
    assert "own-weights" in index.search().headers["x-pinyon-model"]
    assert index.bring("a").status_code == 200
    found = index.search()
    assert hits(found) == ["a", "own"]
    assert says_so(found)
    assert foreign_in(index.stats()) == 1
    assert server.stop() == 0


@pytest.mark.slow
def test_it_is_still_known_after_a_restart_and_with_another_setting(tmp_path: Path) -> None:
    server = RunningServer(mixing_config(tmp_path), tmp_path / "data")
    index = Index(server, 1024)
    assert index.bring("a").status_code == 200
    server.kill()
    server = RunningServer(mixing_config(tmp_path), tmp_path / "data")
    index.url = server.url
    assert says_so(index.search())
    assert server.stop() == 0
    server = RunningServer(stand_in_config(tmp_path), tmp_path / "data")
    index.url = server.url
    assert_refused(index.search())
    assert server.stop() == 0


@pytest.mark.parametrize("model", [pytest.param(E5, marks=pytest.mark.slow), HASH])
def test_embedding_the_index_anew_is_the_way_out(mixing: RunningServer, model: str) -> None:
    name = f"anew-{uuid4().hex[:12]}"
    with mixing.client() as client:
        asked = {"name": name, "cloud": "aws", "region": "us-east-1", "embed": EMBED}
        made = client.post("/indexes/create-for-model", json=asked)
        assert made.status_code == 201, made.text
        index = Index(mixing, 1024, url=made.json()["host"])
        assert index.write("own").status_code == 201
        assert index.bring("a").status_code == 200
        begun = client.post(f"/indexes/{name}/reembed", json={"model": model})
        assert begun.status_code == 202, begun.text
        while client.get(f"/indexes/{name}/reembed").json()["running"]:
            pass
        assert client.get(f"/indexes/{name}/reembed").json().get("failed") is None
    found = index.search()
    assert hits(found) == ["a", "own"]
    assert not says_so(found)
    assert not foreign_in(index.stats())


def test_vectors_that_were_there_before_the_index_embedded_count_as_brought(standing_in: RunningServer) -> None:
    with standing_in.client() as client:
        spec = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
        made = client.post("/indexes", json={"name": "plain", "dimension": 1024, "metric": "cosine", "spec": spec})
        assert made.status_code == 201, made.text
        url = f"http://{made.json()['host'].removeprefix('http://')}"
        vectors = [{"id": "a", "values": [1.0] + [0.5] * 1023, "metadata": {"chunk_text": "a text"}}]
        assert (
            httpx.post(f"{url}/vectors/upsert", json={"vectors": vectors, "namespace": "n"}, timeout=60).status_code
            == 200
        )
        changed = client.patch("/indexes/plain", json={"embed": EMBED})
        assert changed.status_code == 200, changed.text
        found = httpx.post(f"{url}/describe_index_stats", json={}, timeout=60).json()["namespaces"]["n"]
        assert found == {"vectorCount": 1, "truncatedCount": 0, "foreignCount": 1}
        query = {"query": {"top_k": 5, "inputs": {"text": "a text"}}}
        assert_refused(httpx.post(f"{url}/records/namespaces/n/search", json=query, timeout=60))
