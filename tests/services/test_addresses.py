"""Where indexes answer."""

import pytest
from pinyon.errors import FailedPrecondition
from pinyon.services.control_plane.addresses import Addresses


@pytest.mark.parametrize(
    ("addresses", "port", "reached_as", "url"),
    [
        (Addresses("localhost", 5080), 5081, None, "http://localhost:5081"),
        (Addresses("localhost", 5080), None, None, "http://localhost:5080"),
        (Addresses("localhost", 5080), 5081, "search.lan:5080", "http://search.lan:5081"),
        (Addresses("localhost", 5080), 5081, "[::1]:5080", "http://[::1]:5081"),
        (Addresses("localhost", 5080), 5081, "[broken", "http://localhost:5081"),
        (Addresses("localhost", 5080, tls=True), 5081, "pinyon.internal", "https://pinyon.internal:5081"),
        (Addresses("localhost", 443, tls=True), None, None, "https://localhost"),
        (Addresses("localhost", 5080, public_url="https://example.com"), 5081, "inside:5080", "https://example.com:5081"),
        (Addresses("localhost", 5080, public_url="https://example.com:8443"), None, "inside", "https://example.com:8443"),
        (Addresses("localhost", 5080, index_host="{index}.s.example.com"), None, None, "http://docs.s.example.com:5080"),
        (Addresses("localhost", 5080, index_host="{index}.s.example.com", public_url="https://s.example.com"), None, None, "https://docs.s.example.com"),
    ],
)  # fmt: skip
def test_the_address_is_the_one_that_reaches_the_index(
    addresses: Addresses, port: int | None, reached_as: str | None, url: str
) -> None:
    assert addresses.url("docs", port, reached_as) == url


@pytest.mark.parametrize(
    ("host", "index"),
    [
        ("docs.s.example.com", "docs"),
        ("DOCS-2.s.example.com:5080", "docs-2"),
        ("s.example.com", None),
        ("a.docs.s.example.com", None),
        ("docs.s.example.com.attacker.example", None),
        ("docsXs.example.com", None),
        ("[", None),
    ],
)
def test_a_host_name_names_an_index(host: str, index: str | None) -> None:
    found = Addresses("localhost", 5080, index_host="{index}.s.example.com").index_named(host)
    assert (found or "").lower() == (index or "")


def test_without_addresses_there_is_no_room() -> None:
    with pytest.raises(FailedPrecondition, match="--index-ports"):
        Addresses("localhost", 5080).check_room()
    Addresses("localhost", 5080, port_range=range(1, 2)).check_room()
    Addresses("localhost", 5080, index_host="{index}.a.b").check_room()
