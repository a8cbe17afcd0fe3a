"""Repeat a read while a part of the service is out of reach.

Some clients stop waiting after one failed read. The functions that serve them use this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

from comfyline.service.clock import Clock
from comfyline.service.errors import Unavailable

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0  # seconds between two tries

A = TypeVar("A")


def patiently(
    read: Callable[[], A],
    patience: timedelta,
    *,
    clock: Clock,
    sleep: Callable[[float], None] = time.sleep,
) -> A:
    """What `read` returns, tried again for about `patience` while it raises Unavailable.

    Raises:
        Unavailable: the last try has failed, too.
    """
    until = clock() + patience
    for pause in _pauses(patience):
        try:
            return read()
        except Unavailable:
            if clock() + timedelta(seconds=pause) >= until:
                raise
        sleep(pause)
    return read()


def _pauses(patience: timedelta) -> Iterator[float]:
    """Growing pauses that take `patience` in all, however the clock runs."""
    pause, left = FIRST_PAUSE, patience.total_seconds()
    while left >= pause:
        yield pause
        left -= pause
        pause = min(2 * pause, LONGEST_PAUSE)
