"""The clock that use cases get as an argument, so that tests can set the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]  # returns the time in UTC, with its time zone


def utc_now() -> datetime:
    """The clock of a deployed process."""
    return datetime.now(UTC)


def earliest(*ends: datetime | None) -> datetime | None:
    """The first of these times. None is a time that never comes."""
    return min((end for end in ends if end is not None), default=None)
