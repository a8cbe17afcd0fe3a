"""Semaphores: limits on how many functions do something at once, such as wait for a job's end."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Semaphore(Protocol):
    """A number of places, each held by one function for a short time."""

    def enter(self, limit: int, *, now: datetime, until: datetime) -> str | None:
        """Take one of `limit` places; None if all are taken.

        The place expires at `until`, so that a function that dies does not keep it.
        """

    def leave(self, place: str) -> None:
        """Free a place that `enter` returned. Does nothing if the place is free already."""
