"""What lasts is left out of the collecting of garbage; everything else is collected as ever."""

import gc
import weakref
from collections.abc import Iterator

import pytest
from pinyon.inference.gc_freeze import gc_frozen


class Thing:
    """In a circle with itself, so that only the collector can find it gone."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_was_made_meanwhile_is_not_looked_through() -> None:
    with gc_frozen():
        assert not gc.isenabled()
        made = Thing()
    assert gc.isenabled()
    assert not any(each is made for each in gc.get_objects())


def test_what_is_made_afterwards_is_collected() -> None:
    with gc_frozen():
        pass
    gone = weakref.ref(Thing())
    gc.collect()
    assert gone() is None


def test_the_collector_goes_on_when_loading_fails() -> None:
    with pytest.raises(OSError, match="no such weights"), gc_frozen():
        raise OSError("no such weights")
    assert gc.isenabled()
