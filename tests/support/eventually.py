"""Wait for a condition, never for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WITHIN = 10.0  # generous: a loaded machine is no failure


async def eventually(look: Callable[[], T], *, within: float = WITHIN) -> T:
    """The first truthy value of `look`; fails with its last one."""
    deadline = time.monotonic() + within
    while not (value := look()):
        assert time.monotonic() < deadline, f"still {value!r} after {within} s"
        await asyncio.sleep(0.005)
    return value


def eventually_now(look: Callable[[], T], *, within: float = WITHIN, every: float = 0.02) -> T:
    """The same where nothing is asynchronous."""
    deadline = time.monotonic() + within
    while not (value := look()):
        assert time.monotonic() < deadline, f"still {value!r} after {within} s"
        time.sleep(every)
    return value
