"""Values that a process reads again only after a while."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from comfyline.service.clock import Clock

T = TypeVar("T")


class Cached(Generic[T]):
    """Calls `read` at most once in `lifetime`, and returns its latest answer in between.

    An error of `read` is raised and not kept. Two threads that call this at once may both read.
    """

    def __init__(self, read: Callable[[], T], lifetime: timedelta, clock: Clock) -> None:
        self._read, self._lifetime, self._clock = read, lifetime, clock
        self._latest: tuple[datetime, T] | None = None

    def __call__(self) -> T:
        """The answer, which is at most `lifetime` old."""
        now, latest = self._clock(), self._latest
        if latest is None or not latest[0] <= now < latest[0] + self._lifetime:
            self._latest = latest = now, self._read()
        return latest[1]
