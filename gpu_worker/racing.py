"""Run coroutines against each other: this unless that, the first of these, these beside a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


async def unless(
    stop: asyncio.Event, work: Coroutine[Any, Any, T], *, grace_seconds: float = 0.0
) -> T | None:
    """The result of `work`; None if `stop` is set and `work` is not done `grace_seconds` later.

    Work that is not done is canceled. What `work` raises, this raises.
    """
    working = asyncio.create_task(work)
    try:
        await first_of(asyncio.wait({working}), stop.wait())
        await asyncio.wait({working}, timeout=grace_seconds)
        return working.result() if working.done() else None
    finally:
        working.cancel()


async def first_of(*waits: Coroutine[Any, Any, object], timeout: float | None = None) -> None:
    """Return when the first of `waits` returns, or after `timeout` seconds; cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def background(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `works` until the block ends, then cancel them and wait until they have stopped."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
