"""Say that this worker is up, and what its GPU does, for whoever counts workers.

What was said holds for three rounds: a missed one changes nothing, and a worker that dies without a
word is forgotten within a minute. Nothing else hangs on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from comfyline.contract.ids import WorkerId
from comfyline.service.clock import Clock
from comfyline.service.fleet.workers import Attendance, Presence

EVERY = timedelta(seconds=20)
ROUNDS = 3

_log = logging.getLogger(__name__)


@asynccontextmanager
async def present(
    attendance: Attendance,
    worker_id: WorkerId,
    running: Callable[[], int],
    clock: Clock,
    every: timedelta = EVERY,
) -> AsyncIterator[None]:
    """Present while the block lasts, and gone at once after it."""

    async def say(holds: timedelta) -> None:
        presence = Presence(worker_id, running(), clock() + holds)
        try:
            await asyncio.to_thread(attendance.note, presence)
        except Exception:  # noqa: BLE001 - whatever it is, the jobs do not need this
            _log.warning("presence not told", exc_info=True, extra={"action": "presence_missed"})

    async def say_for_ever() -> None:
        while True:
            await say(ROUNDS * every)
            await asyncio.sleep(every.total_seconds())

    saying = asyncio.create_task(say_for_ever())
    try:
        yield
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)
        await say(timedelta(0))
