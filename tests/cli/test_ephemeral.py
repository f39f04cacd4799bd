"""A server whose data are gone when it ends. tests/testing/ has whole ones."""

import argparse
import signal
from pathlib import Path

import pytest
from pinyon.cli.ephemeral import temporary_data


def options(**named: str) -> argparse.Namespace:
    return argparse.Namespace(**{**dict.fromkeys(("data_dir", "port", "index_ports", "precision")), **named})


def test_what_is_not_named_is_filled_in() -> None:
    told = options(port="5090")
    with temporary_data(told):
        assert Path(told.data_dir).stat().st_mode & 0o077 == 0, "the data is nobody else's business"
        assert (told.port, told.index_ports, told.precision) == ("5090", "free:50", "remembered")
    assert not Path(told.data_dir).exists()


def test_a_signal_that_comes_before_the_server_can_take_it_leaves_no_data() -> None:
    told = options()
    with pytest.raises(SystemExit), temporary_data(told):
        signal.raise_signal(signal.SIGTERM)
    assert not Path(told.data_dir).exists()
