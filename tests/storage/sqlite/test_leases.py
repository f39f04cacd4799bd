"""Leases by a clock that the test moves."""

from pinyon.domain import Lease
from pinyon.storage.sqlite.leases import Leases


def test_a_lease_ends_when_its_time_has_passed_and_not_before() -> None:
    now = 100.0
    leases = Leases(lambda: now)
    assert leases.take(Lease("a", "me"), 10)
    now = 109.9
    assert not leases.take(Lease("a", "you"), 10)
    assert leases.take(Lease("b", "you"), 10), "another key is another lease"
    assert leases.take(Lease("a", "me"), 10), "renewed"
    now = 119.8
    assert not leases.take(Lease("a", "you"), 10)
    now = 119.9
    assert leases.take(Lease("a", "you"), 10)
    assert not leases.take(Lease("a", "me"), 10)


def test_only_the_owner_releases_a_lease() -> None:
    leases = Leases(lambda: 0.0)
    assert leases.take(Lease("a", "me"), 10)
    leases.release(Lease("a", "you"))
    assert not leases.take(Lease("a", "you"), 10)
    leases.release(Lease("a", "me"))
    assert leases.take(Lease("a", "you"), 10)
