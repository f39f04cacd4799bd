"""Search by meaning, by words and by both, over HTTP, with the real MiniLM."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.running import RunningServer

TEXTS = {
    "fruit": "Apples and pears keep you healthy",
    "code": "Error XJ-4711 means that the pump is blocked",
    "farm": "Orchards were planted by monks in the middle ages",
    "pump": "A blocked pump must be cleaned with water",
}


@pytest.fixture(scope="module")
def server(minilm_server: RunningServer) -> RunningServer:
    """The server with TEXTS in the namespace n, which nobody else uses."""
    with minilm_server.client() as client:
        rows = [json.dumps({"_id": id, "chunk_text": text, "n": len(text)}) for id, text in TEXTS.items()]
        assert client.post("/records/namespaces/n/upsert", content="\n".join(rows)).status_code == 201
    return minilm_server


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def ask(client: httpx.Client, text: str, top_k: int = 4, more: Any = None, **inputs: Any) -> httpx.Response:
    body = {"query": {"top_k": top_k, "inputs": {"text": text, **inputs}}, **(more or {})}
    return client.post("/records/namespaces/n/search", json=body)


def hits(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["result"]["hits"]
    return found


def ids(answer: httpx.Response) -> list[str]:
    return [hit["_id"] for hit in hits(answer)]


def test_words_find_what_meaning_does_not_and_the_other_way_round(client: httpx.Client) -> None:
    assert ids(ask(client, "XJ-4711", retrieval="lexical")) == ["code"]
    assert ids(ask(client, "history of agriculture", retrieval="lexical")) == []
    assert ids(ask(client, "history of agriculture", 1, retrieval="dense")) == ["farm"]
    for text, first in (("XJ-4711", "code"), ("history of agriculture", "farm")):
        assert ids(ask(client, text, retrieval="hybrid"))[0] == first


def test_words_are_stemmed(client: httpx.Client) -> None:
    assert ids(ask(client, "cleaning pumps", retrieval="lexical"))[0] == "pump"


def test_a_lexical_search_asks_no_model(client: httpx.Client) -> None:
    answer = ask(client, "pump", retrieval="lexical")
    assert "x-pinyon-model" not in answer.headers
    assert "embed_total_tokens" not in answer.json()["usage"]
    assert ask(client, "pump", retrieval="hybrid").headers["x-pinyon-model"] == "all-MiniLM-L6-v2"


def test_filters_and_fields_hold_for_every_retrieval(client: httpx.Client) -> None:
    kept = {"n": {"$lt": 42}}
    for retrieval in ("dense", "lexical", "hybrid"):
        body = {"top_k": 4, "inputs": {"text": "a blocked pump", "retrieval": retrieval}, "filter": kept}
        answer = client.post("/records/namespaces/n/search", json={"query": body, "fields": ["n"]})
        assert set(ids(answer)) <= {"fruit", "pump"}
        assert all(set(hit["fields"]) == {"n"} for hit in hits(answer))


@pytest.mark.parametrize(("query", "weight"), [("blocked pump", 1 / 2), ("насос сломался, pump", 1 / (1 + 1 / 8))])
def test_words_decide_where_the_model_does_not_know_the_language(
    client: httpx.Client, query: str, weight: float
) -> None:
    told = hits(ask(client, query, retrieval="hybrid", explain=True))[0]["fields"]["_explain"]
    assert told["lexical_weight"] == pytest.approx(weight)
    assert told["score"] == pytest.approx((1 - weight) * told["similarity"] + weight * told["share"])


def test_an_explanation_says_what_a_score_is_made_of(client: httpx.Client) -> None:
    first, *others = hits(ask(client, "blocked pump", retrieval="hybrid", explain=True))
    told = first["fields"]["_explain"]
    assert (told["score"], told["rank"]) == (first["_score"], 1)
    assert (told["dense_rank"], told["lexical_rank"]) == (1, 1)
    assert 0 < told["dense"] <= 1 and told["lexical"] > 0
    assert told["background"] < told["dense"] and 0 < told["similarity"] < 1 and 0 < told["share"] < 1
    assert told["similarity"] == pytest.approx((told["dense"] - told["background"]) / (1 - told["background"]))
    weight = told["lexical_weight"]
    assert told["score"] == pytest.approx((1 - weight) * told["similarity"] + weight * told["share"])
    assert [hit["fields"]["_explain"]["rank"] for hit in others] == [2, 3, 4]
    unrelated = next(hit for hit in others if hit["_id"] == "farm")["fields"]["_explain"]
    assert "lexical" not in unrelated and "lexical_rank" not in unrelated
    rerank = {"rerank": {"model": "bge-reranker-v2-m3", "rank_fields": ["chunk_text"], "top_n": 2}}
    reranked = hits(ask(client, "blocked pump", more=rerank, retrieval="hybrid", explain=True))
    assert all(hit["fields"]["_explain"]["rerank"] == hit["_score"] for hit in reranked)
    plain = hits(ask(client, "blocked pump", explain=True))[0]["fields"]["_explain"]
    assert set(plain) == {"score", "rank", "calibrated"}
    assert all("_explain" not in hit["fields"] for hit in hits(ask(client, "blocked pump", retrieval="hybrid")))


RERANKED = {"rerank": {"model": "pinyon-late-interaction", "rank_fields": ["chunk_text"]}}


@pytest.mark.parametrize(
    ("retrieval", "more"),
    [("dense", None), ("lexical", None), ("hybrid", None), ("hybrid", RERANKED), ("dense", RERANKED)],
)
def test_hits_below_the_least_score_are_left_out(client: httpx.Client, retrieval: str, more: Any) -> None:
    every = hits(ask(client, "how to clean a blocked pump", more=more, retrieval=retrieval, explain=True))
    chances = [hit["fields"]["_explain"]["calibrated"] for hit in every]
    assert chances == sorted(chances, reverse=True), "the order of the scores"
    assert 0 <= chances[-1] < chances[0] <= 1
    wanted = [hit["_id"] for hit, chance in zip(every, chances, strict=True) if chance >= chances[0]]
    least = {"retrieval": retrieval, "min_score": chances[0]}
    assert ids(ask(client, "how to clean a blocked pump", more=more, **least)) == wanted
    shown = hits(ask(client, "how to clean a blocked pump", more=more, **least))
    assert shown[0] == {**every[0], "fields": {k: v for k, v in every[0]["fields"].items() if k != "_explain"}}
    for none in (0, None):
        assert len(ids(ask(client, "how to clean a blocked pump", more=more, **{**least, "min_score": none}))) == len(
            every
        )


def test_a_least_score_counts_before_top_n_and_after_reranking(client: httpx.Client) -> None:
    more = {"rerank": {**RERANKED["rerank"], "top_n": 3}}
    every = hits(ask(client, "blocked pump", more=more, retrieval="hybrid", explain=True))
    second = every[1]["fields"]["_explain"]["calibrated"]
    assert every[1]["fields"]["_explain"]["calibrated"] > every[2]["fields"]["_explain"]["calibrated"]
    found = ids(ask(client, "blocked pump", more=more, retrieval="hybrid", min_score=second))
    assert found == [hit["_id"] for hit in every[:2]]


@pytest.mark.parametrize(
    ("more", "inputs", "message"),
    [
        (
            {"rerank": {"model": "bm25", "rank_fields": ["chunk_text"]}},
            {},
            "those of bm25 with all-MiniLM-L6-v2 are not",
        ),
        ({"rerank": {**RERANKED["rerank"], "rank_fields": ["n"]}}, {}, "reranking by the field that the index embeds"),
        ({}, {"retrieval": "hybrid", "mix": {"words": 2}}, "those of hybrid with all-MiniLM-L6-v2 are not calibrated"),
        ({}, {"min_score": 1.5}, "min_score must be from 0 to 1, got 1.5"),
        ({}, {"min_score": -0.1}, "min_score must be from 0 to 1, got -0.1"),
        ({}, {"min_score": "half"}, "Expected `float | null`, got `str` - at `$.query.inputs.min_score`"),
        ({}, {"min_score": True}, "Expected `float | null`, got `bool`"),
    ],
)
def test_a_least_score_without_a_meaning_is_refused(
    client: httpx.Client, more: Any, inputs: dict[str, Any], message: str
) -> None:
    answer = ask(client, "pump", more=more, **{"min_score": 0.5, **inputs})
    assert answer.status_code == 400
    assert message in answer.json()["message"]


def test_a_least_score_is_for_texts(client: httpx.Client) -> None:
    query = {"top_k": 1, "vector": {"values": [1.0] * 384}, "inputs": {"text": "pump", "min_score": 0.5}}
    answer = client.post("/records/namespaces/n/search", json={"query": query})
    assert (answer.status_code, answer.json()["message"].partition(",")[0]) == (
        400,
        "'min_score' is for searches by text",
    )


def test_a_new_index_detects_the_language_of_each_text(server: RunningServer) -> None:
    embed = {"model": "all-MiniLM-L6-v2", "field_map": {"text": "t"}}
    body = {"name": "languages", "cloud": "aws", "region": "us-east-1", "embed": embed}
    with server.client() as control:
        made = control.post("/indexes/create-for-model", json=body).json()
        assert "language" not in made["embed"]["write_parameters"]
        with httpx.Client(base_url=made["host"], timeout=60) as index:
            rows = [
                {"_id": "de", "t": "Die Häuser stehen an dem Fluss und nicht in der Stadt"},
                {"_id": "en", "t": "The dogs are barking at the engineers"},
            ]
            assert index.post("/records/namespaces/n/upsert", json=rows).status_code == 201
            assert ids(ask(index, "das Haus", retrieval="lexical")) == ["de"]
            assert ids(ask(index, "barked", retrieval="lexical")) == ["en"]
            change = {"embed": {"write_parameters": {"language": "english"}}}
            changed = control.patch("/indexes/languages", json=change).json()
            assert changed["embed"]["write_parameters"]["language"] == "english"
            assert ids(ask(index, "Haus", retrieval="lexical")) == []
            assert ids(ask(index, "barked", retrieval="lexical")) == ["en"]
        assert control.delete("/indexes/languages").status_code == 202


def test_an_index_can_be_hybrid_and_in_another_language_for_every_client(server: RunningServer) -> None:
    embed = {
        "model": "all-MiniLM-L6-v2",
        "field_map": {"text": "t"},
        "read_parameters": {"retrieval": "hybrid"},
        "write_parameters": {"language": "german"},
    }
    body = {"name": "houses", "cloud": "aws", "region": "us-east-1", "embed": embed}
    with server.client() as control:
        made = control.post("/indexes/create-for-model", json=body).json()
        assert made["embed"]["read_parameters"]["retrieval"] == "hybrid"
        assert made["embed"]["write_parameters"]["language"] == "german"
        with httpx.Client(base_url=made["host"], timeout=60) as index:
            rows = [{"_id": "a", "t": "Die Häuser am Fluss"}, {"_id": "b", "t": "Ein Boot"}]
            assert index.post("/records/namespaces/n/upsert", json=rows).status_code == 201
            found = hits(ask(index, "Haus", explain=True))
            assert found[0]["_id"] == "a"
            assert found[0]["fields"]["_explain"]["lexical_rank"] == 1
            assert ids(ask(index, "Haus", retrieval="lexical")) == ["a"]
        changed = control.patch("/indexes/houses", json={"embed": {"read_parameters": {"retrieval": "dense"}}}).json()
        assert "retrieval" not in changed["embed"]["read_parameters"]
        assert control.delete("/indexes/houses").status_code == 202


def test_an_index_and_a_search_can_have_a_mix_of_their_own(server: RunningServer) -> None:
    read = {"retrieval": "hybrid", "mix": {"words": 4, "reranker": 0.5}}
    embed = {"model": "all-MiniLM-L6-v2", "field_map": {"text": "t"}, "read_parameters": read}
    body = {"name": "mixed", "cloud": "aws", "region": "us-east-1", "embed": embed}
    with server.client() as control:
        made = control.post("/indexes/create-for-model", json=body).json()
        told = {"similarity": 1, "words": 4, "learned": 1, "reranker": 0.5, "candidates": 100}
        assert made["embed"]["read_parameters"]["mix"] == told
        with httpx.Client(base_url=made["host"], timeout=60) as index:
            rows = [{"_id": "a", "t": "A cat sleeps"}, {"_id": "b", "t": "A kitten naps"}, {"_id": "c", "t": "Rain"}]
            assert index.post("/records/namespaces/n/upsert", json=rows).status_code == 201

            def weight(**inputs: Any) -> float:
                found: float = hits(ask(index, "kitten", explain=True, **inputs))[0]["fields"]["_explain"][
                    "lexical_weight"
                ]
                return found

            assert weight() == pytest.approx(4 / 5)
            assert weight(mix={}) == pytest.approx(1 / 2), "of the search and not of the index"
            assert weight(mix={"words": 0, "learned": None}) == 0
            more = rerank("pinyon-late-interaction")
            more["rerank"]["rank_fields"] = ["t"]
            for mix, own in (({"words": 0, "reranker": 0}, "similarity"), ({"similarity": 0, "reranker": 0}, "share")):
                for hit in hits(ask(index, "kitten", explain=True, more=more, mix=mix)):
                    part = hit["fields"]["_explain"][own]
                    assert hit["_score"] == pytest.approx(max(0, part), abs=1e-6)
        change: dict[str, Any] = {"embed": {"read_parameters": {"calibration": {"hybrid": [[0, 0.1], [1, 0.9]]}}}}
        changed = control.patch("/indexes/mixed", json=change).json()
        assert changed["embed"]["read_parameters"]["calibration"] == {"hybrid": [[0, 0.1], [1, 0.9]]}
        with httpx.Client(base_url=made["host"], timeout=60) as index:
            for hit in hits(ask(index, "kitten", explain=True)):
                told = hit["fields"]["_explain"]
                assert told["calibrated"] == pytest.approx(0.1 + 0.8 * max(0, told["score"]), abs=1e-4)
            told = hits(ask(index, "kitten", mix={}, explain=True))[0]["fields"]["_explain"]
            other = told["calibrated"] - (0.1 + 0.8 * told["score"])
            assert abs(other) > 0.05, "another mix: the curve for all indexes"
        change = {"embed": {"read_parameters": {"mix": None}}}
        changed = control.patch("/indexes/mixed", json=change).json()
        assert changed["embed"]["read_parameters"]["retrieval"] == "hybrid"
        assert not {"mix", "calibration"} & set(changed["embed"]["read_parameters"]), "the curve was of that mix"
        assert control.delete("/indexes/mixed").status_code == 202


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"retrieval": "magic"}, "Invalid enum value 'magic'"),
        ({"explain": "yes"}, "Expected `bool`"),
        ({"mix": 3}, "Expected `object | null`"),
        ({"mix": {"meaning": 1}}, "unknown field `meaning`. It may have similarity, words"),
        ({"mix": {"words": "many"}}, "Expected `float`, got `str` - at `$.words`"),
        ({"mix": {"words": -1}}, "mix.words must be 0, or from 0.001 to 100, got -1"),
        ({"mix": {"words": 0, "similarity": 1e-300}}, "mix.similarity must be 0, or from 0.001 to 100, got 1e-300"),
        ({"mix": {"words": 0, "similarity": 0}}, "must not both be 0"),
        ({"mix": {"candidates": 0}}, "mix.candidates must be from 1 to 10000, got 0"),
        ({"other": 1}, "unknown field `other`"),
    ],
)
def test_wrong_inputs_are_refused(client: httpx.Client, inputs: dict[str, Any], message: str) -> None:
    answer = ask(client, "x", **inputs)
    assert answer.status_code == 400
    assert message in answer.json()["message"]


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        ({"read_parameters": {"retrieval": "magic"}}, "must be one of dense, lexical, hybrid"),
        ({"write_parameters": {"language": "klingon"}}, "'language' must be one of"),
        ({"read_parameters": {"mix": {"reranker": 101}}}, "mix.reranker must be 0, or from 0.001 to 100"),
        ({"read_parameters": {"calibration": {"dense": 1}}}, "'calibration' is wrong: Expected `array`, got `int`"),
        ({"read_parameters": {"calibration": {"dense": [[0, 0.5], [1, 0.2]]}}}, "from 0 to 1 that never fall"),
        (
            {"model": "pinecone-sparse-english-v0", "read_parameters": {"mix": {"words": 2}}},
            "'mix' and 'calibration' are for dense indexes",
        ),
        ({"read_parameters": {"language": "german"}}, "Unknown parameter 'language'"),
        ({"model": "pinecone-sparse-english-v0", "read_parameters": {"retrieval": "hybrid"}}, "for dense ones"),
    ],
)
def test_wrong_parameters_of_an_index_are_refused(server: RunningServer, embed: dict[str, Any], message: str) -> None:
    body = {"name": "refused", "cloud": "aws", "region": "us-east-1"}
    told = {"model": "all-MiniLM-L6-v2", "field_map": {"text": "t"}, **embed}
    with server.client() as control:
        answer = control.post("/indexes/create-for-model", json={**body, "embed": told})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def rerank(model: str, **more: Any) -> dict[str, Any]:
    return {"rerank": {"model": model, "rank_fields": ["chunk_text"], **more}}


def test_bm25_reranks_by_the_namespaces_own_counts(client: httpx.Client) -> None:
    # "pump" and "blocked" are in two of the four texts, "cleaned" is in one.
    found = hits(ask(client, "cleaned pump", more=rerank("bm25"), retrieval="dense"))
    assert [hit["_id"] for hit in found][:2] == ["pump", "code"]
    assert found[0]["_score"] > 0.4 > found[1]["_score"] > found[2]["_score"] == found[3]["_score"] == 0


def test_a_fused_rerank_does_not_depend_on_how_the_hits_were_found(client: httpx.Client) -> None:
    model = rerank("pinyon-late-interaction", query="a blocked pump")
    ways = [
        ask(client, "a blocked pump", more=model, retrieval="dense"),
        ask(client, "a blocked pump", more=model, retrieval="hybrid"),
        ask(client, "monks", more=model, retrieval="dense"),
        client.post("/records/namespaces/n/search", json={"query": {"top_k": 4, "id": "farm"}, **model}),
    ]
    found = [{hit["_id"]: pytest.approx(hit["_score"], abs=1e-5) for hit in hits(way)} for way in ways]
    assert all(each == found[0] for each in found)
    assert ids(ways[2])[0] == "pump"
    # Words alone find fewer, and those have the same scores.
    by_words = {
        hit["_id"]: hit["_score"] for hit in hits(ask(client, "a blocked pump", more=model, retrieval="lexical"))
    }
    assert by_words == {id: found[0][id] for id in ("code", "pump")}


def test_a_field_that_is_not_embedded_is_fused_by_its_own_text(client: httpx.Client) -> None:
    rows = [
        {"_id": "a", "chunk_text": "stars", "note": "a blocked pump"},
        {"_id": "b", "chunk_text": "a blocked pump", "note": "stars"},
    ]
    client.post("/records/namespaces/other/upsert", content="\n".join(map(json.dumps, rows))).raise_for_status()
    for field, first in (("note", "a"), ("chunk_text", "b")):
        body = {
            "query": {"top_k": 2, "inputs": {"text": "a blocked pump"}},
            "rerank": {"model": "pinyon-late-interaction", "rank_fields": [field]},
        }
        found = hits(client.post("/records/namespaces/other/search", json=body))
        assert found[0]["_id"] == first
        assert found[0]["_score"] > 0.7 > 0.5 > found[1]["_score"]


def test_nothing_found_is_nothing_reranked(client: httpx.Client) -> None:
    for model in ("pinyon-late-interaction", "bm25", "bge-reranker-v2-m3"):
        body = {"query": {"top_k": 4, "inputs": {"text": "x"}, "filter": {"n": {"$lt": 0}}}, **rerank(model)}
        assert hits(client.post("/records/namespaces/n/search", json=body)) == []


def test_a_hit_without_the_text_to_rank_is_named(client: httpx.Client) -> None:
    for model in ("pinyon-late-interaction", "bm25"):
        answer = ask(client, "a blocked pump", more={"rerank": {"model": model, "rank_fields": ["missing"]}})
        assert answer.status_code == 400
        assert "field 'missing' not found in document at index 0 (record '" in answer.text
