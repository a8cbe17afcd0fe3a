"""Wait until a condition holds, instead of for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WITHIN = 60.0  # seconds; long, so that no test fails only because the machine is busy


async def eventually(look: Callable[[], T], *, within: float = WITHIN) -> T:
    """The first truthy value of `look`. Fails after `within` seconds, with the last value."""
    deadline = time.monotonic() + within
    while not (value := look()):
        assert time.monotonic() < deadline, f"still {value!r} after {within} s"
        await asyncio.sleep(0.005)
    return value


def eventually_now(look: Callable[[], T], *, within: float = WITHIN, every: float = 0.02) -> T:
    """`eventually` for code that is not asynchronous. Looks every `every` seconds."""
    deadline = time.monotonic() + within
    while not (value := look()):
        assert time.monotonic() < deadline, f"still {value!r} after {within} s"
        time.sleep(every)
    return value
