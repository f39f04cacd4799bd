"""Moments, as responses and files write them."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """A moment by RFC 3339, in UTC, with microseconds. As text, such moments are ordered as they are in time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def now() -> str:
    """This moment, by RFC 3339."""
    return rfc3339(utc_now())
