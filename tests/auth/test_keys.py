"""API keys: made, kept as digests, recognised, revoked."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pinyon.auth import keys
from pinyon.auth.permissions import EVERYTHING
from pinyon.errors import AlreadyExists, FailedPrecondition, NotFound, ResourceExhausted


def test_a_key_has_256_bits_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    made = keys.create(tmp_path / "data", "ci")
    assert len(made.removeprefix(keys.PREFIX)) == 43  # 32 bytes in base64
    assert made != keys.create(tmp_path / "data", "other")
    file = tmp_path / "data" / keys.FILE
    assert made not in file.read_text()
    assert keys.digest(made) in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [key.name for key in keys.stored(tmp_path / "data")] == ["ci", "other"]


def test_names_are_unique_and_unknown_ones_are_named(tmp_path: Path) -> None:
    keys.create(tmp_path, "ci")
    with pytest.raises(AlreadyExists, match="named ci already"):
        keys.create(tmp_path, "ci")
    with pytest.raises(NotFound, match="no key named x; there are: ci"):
        keys.revoke(tmp_path, "x")


def test_keys_come_and_go_while_the_server_runs(tmp_path: Path) -> None:
    held = keys.Keys(tmp_path, "")
    assert not held.required()
    first = keys.create(tmp_path, "first")
    assert held.required()
    assert held.caller(first)
    second = keys.create(tmp_path, "second")
    keys.revoke(tmp_path, "first")
    assert [held.caller(key) is not None for key in (first, second, "")] == [False, True, False]
    keys.revoke(tmp_path, "second")
    assert held.required(), "revoking the last key must not open the server"
    assert not held.caller(second)


def test_the_key_of_the_settings_is_one_more(tmp_path: Path) -> None:
    held = keys.Keys(tmp_path, "from-settings")
    made = keys.create(tmp_path, "ci")
    assert held.required() and held.caller("from-settings") and held.caller(made)
    assert not held.caller("from-settings ")


def test_nobody_gets_in_on_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / keys.FILE).write_text("[{")
    held = keys.Keys(tmp_path, "")
    assert held.required()
    assert not held.caller("anything")
    with pytest.raises(FailedPrecondition, match=r"keys\.json cannot be read"):
        keys.create(tmp_path, "x")


def test_keys_made_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: keys.create(tmp_path, f"key-{n}"), range(16)))
    held = keys.Keys(tmp_path, "")
    assert all(held.caller(key) for key in made)
    assert len(keys.stored(tmp_path)) == 16


def test_a_second_of_requests_may_come_at_once_and_then_as_many_as_the_rate_allows() -> None:
    caller = keys.Caller(EVERYTHING, per_second=3, tokens=3, refilled=100.0)

    def taken(now: float) -> bool:
        try:
            caller.take(now)
        except ResourceExhausted as error:
            assert error.retry_after_s == 1
            return False
        return True

    assert [taken(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [taken(100.5) for _ in range(3)] == [True, False, False]
    assert [taken(200.0) for _ in range(5)] == [True, True, True, False, False], "no more is saved up than a second's"
    assert not taken(150.0), "a clock that goes back gives nothing"
