"""Calendar months in UTC, by which an owner's usage is summed: texts such as `2026-11`."""

from __future__ import annotations

from datetime import UTC, datetime

MONTHS = 12  # that are kept


def month_of(at: datetime) -> str:
    """The month that a time is in."""
    return format(at.astimezone(UTC), "%Y-%m")


def months_before(month: str, count: int) -> list[str]:
    """The month and those before it: `count` in all, newest first."""
    year, number = map(int, month.split("-"))
    first = year * 12 + number - 1
    return [f"{n // 12:04}-{n % 12 + 1:02}" for n in range(first, first - count, -1)]
