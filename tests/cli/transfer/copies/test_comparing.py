"""What counts as the same record, as the same neighbours, and as a fair sample; and which key goes where."""

import random
from typing import Any

import msgspec
import pytest
from pinyon.cli.transfer.copies.command import key_of
from pinyon.cli.transfer.copies.remote_index import Scored, Vector, address
from pinyon.cli.transfer.copies.state import Sample
from pinyon.cli.transfer.copies.verification import checksum, overlap
from pinyon.errors import InvalidArgument


def vector(text: str) -> Vector:
    return msgspec.json.decode(text, type=Vector)


def sums(*texts: str) -> set[str]:
    return {checksum(vector(text), True, {}) for text in texts}


def test_a_record_is_the_same_in_whatever_way_its_numbers_are_written() -> None:
    same = sums(
        '{"id": "a", "values": [0.1, 1], "metadata": {"x": 1, "y": "z"}}',
        '{"id": "a", "values": [0.10000000149, 1.0], "metadata": {"y": "z", "x": 1.0}, "sparseValues": null}',
        '{"id": "a", "values": [1e-1, 1], "metadata": {"x": 1, "y": "z"}, "sparseValues": {"indices": [], "values": []}}',
    )
    assert len(same) == 1
    assert len(sums('{"id": "a"}', '{"id": "a", "values": [], "metadata": {}}', '{"id": "a", "values": null}')) == 1
    sparse = '{"id": "a", "sparseValues": {"indices": [%s], "values": [%s]}}'
    assert len(sums(sparse % ("1, 2", "0.5, 0.25"), sparse % ("2, 1", "0.25, 0.5"))) == 1


@pytest.mark.parametrize(
    "other",
    [
        '{"id": "a", "values": [1, 2.0000002], "metadata": {"x": 1}}',
        '{"id": "a", "values": [1, 2], "metadata": {"x": true}}',
        '{"id": "a", "values": [1, 2], "metadata": {"x": "1"}}',
        '{"id": "a", "values": [1, 2], "metadata": {"x": 1, "y": 1}}',
        '{"id": "a", "values": [1, 2]}',
        '{"id": "a", "values": [2, 1], "metadata": {"x": 1}}',
        '{"id": "a", "values": [1, 2], "metadata": {"x": 1}, "sparseValues": {"indices": [1], "values": [1]}}',
    ],
)
def test_any_other_value_is_a_difference(other: str) -> None:
    assert len(sums('{"id": "a", "values": [1, 2], "metadata": {"x": 1}}', other)) == 2


def test_renamed_fields_are_compared_by_their_new_names() -> None:
    there, here = (
        vector('{"id": "a", "metadata": {"x": 1}}'),
        vector('{"id": "a", "metadata": {"y": 1}, "values": [1]}'),
    )
    assert checksum(there, False, {"x": "y"}) == checksum(here, False, {})


def hits(**scores: float) -> list[Scored]:
    return [Scored(id, score) for id, score in scores.items()]


@pytest.mark.parametrize(
    ("there", "here", "share"),
    [
        (hits(a=0.9, b=0.8), hits(a=0.9, b=0.8), 1.0),
        (hits(a=0.9, b=0.8), hits(b=0.8, a=0.79), 1.0),
        (hits(a=0.9, b=0.8), hits(a=0.9, c=0.7), 0.5),
        (hits(a=0.9, b=0.8), hits(a=0.9, c=0.800001), 1.0),
        (hits(a=0.9, b=0.8), [], 0.0),
        ([], hits(a=0.9), 1.0),
    ],
)
def test_neighbours_are_the_same_if_they_are_found_or_tie_with_the_last(there: Any, here: Any, share: float) -> None:
    assert overlap(there, here) == share


def test_a_sample_does_not_depend_on_the_order_of_the_records() -> None:
    ids = [f"r{n}" for n in range(1_000)]
    samples = []
    for seed in range(2):
        random.Random(seed).shuffle(ids)
        sample = Sample(20)
        for start in range(0, 1_000, 100):
            sample.offer("n", ids[start : start + 100])
            sample.offer("n", ids[start : start + 10])
        samples.append([record.id for record in sample.records])
    assert samples[0] == samples[1]
    assert len(set(samples[0])) == 20


def test_the_key_of_one_service_is_not_sent_to_another() -> None:
    variables = {"PINECONE_API_KEY": "hosted", "PINYON_API_KEY": "own"}
    hosted, own = "https://docs-1.svc.aped-1.pinecone.io", "http://localhost:5081"
    assert [key_of(url, None, "PINYON_FROM_KEY", variables) for url in (hosted, own)] == ["hosted", "own"]
    assert key_of("https://pinecone.io.example.org", None, "PINYON_FROM_KEY", variables) == "own"
    assert key_of(own, None, "PINYON_FROM_KEY", {**variables, "PINYON_FROM_KEY": "from"}) == "from"
    assert key_of(own, "given", "PINYON_FROM_KEY", {**variables, "PINYON_FROM_KEY": "from"}) == "given"
    assert key_of(own, None, "PINYON_FROM_KEY", {"PINECONE_API_KEY": "hosted"}) == ""


def test_an_address_without_a_scheme_is_one_of_https() -> None:
    assert address("docs-1.svc.pinecone.io/") == "https://docs-1.svc.pinecone.io"
    assert address("http://localhost:5081/") == "http://localhost:5081"
    with pytest.raises(InvalidArgument, match="give the index's address alone"):
        address("http://localhost:5081/indexes/docs")
