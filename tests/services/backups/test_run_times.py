"""When the runs of a schedule are."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.services.backups.run_times import FREQUENCIES, Frequency, next_run


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("frequency", "start", "after", "run"),
    [
        ("daily", "2026-04-02 18:22", "2026-04-02 18:22", "2026-04-03 18:22"),
        ("daily", "2026-04-02 18:22", "2026-04-03 18:22", "2026-04-04 18:22"),
        ("daily", "2026-04-02 18:22", "2026-04-09 00:00", "2026-04-09 18:22"),
        ("weekly", "2026-04-02 18:22", "2026-04-02 18:22", "2026-04-09 18:22"),
        ("weekly", "2026-04-02 18:22", "2026-05-01 00:00", "2026-05-07 18:22"),
        ("monthly", "2026-01-31 09:00", "2026-01-31 09:00", "2026-02-28 09:00"),
        ("monthly", "2026-01-31 09:00", "2026-02-28 09:00", "2026-03-31 09:00"),
        ("monthly", "2028-01-31 09:00", "2028-02-01 00:00", "2028-02-29 09:00"),
        ("monthly", "2026-12-15 09:00", "2026-12-20 00:00", "2027-01-15 09:00"),
        ("monthly", "2026-01-31 09:00", "2027-06-01 00:00", "2027-06-30 09:00"),
    ],
)
def test_runs_keep_the_time_of_the_start(frequency: Frequency, start: str, after: str, run: str) -> None:
    assert next_run(at(start), frequency, at(after)) == at(run)


MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, MOMENTS, st.sampled_from(FREQUENCIES))
def test_the_next_run_is_later_and_at_most_one_period_away(one: datetime, other: datetime, each: Frequency) -> None:
    start, after = min(one, other), max(one, other)
    longest = timedelta(days={"daily": 1, "weekly": 7, "monthly": 31}[each])
    assert after < next_run(start, each, after) <= after + longest
