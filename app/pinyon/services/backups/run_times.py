"""When the runs of a schedule are. Pure."""

import calendar
from datetime import datetime, timedelta
from typing import Literal

Frequency = Literal["daily", "weekly", "monthly"]
FREQUENCIES: tuple[Frequency, ...] = ("daily", "weekly", "monthly")
DAYS: dict[str, float] = {"daily": 1, "weekly": 7}


def next_run(start: datetime, frequency: Frequency, after: datetime) -> datetime:
    """The first run later than `after`, of a schedule that began at `start`. Its first run is one period after that.

    Runs keep the time of day of the start. Monthly ones keep its day too, or have the last day of a shorter month.
    """
    if frequency == "monthly":
        months = max(1, (after.year - start.year) * 12 + after.month - start.month)
        run = _months_later(start, months)
        return run if run > after else _months_later(start, months + 1)
    period = timedelta(days=DAYS[frequency])
    return start + max(1, (after - start) // period + 1) * period


def _months_later(start: datetime, months: int) -> datetime:
    year, month = divmod(start.month - 1 + months, 12)
    year, month = start.year + year, month + 1
    return start.replace(year=year, month=month, day=min(start.day, calendar.monthrange(year, month)[1]))
