"""Report that this worker is up, how many prompts its GPU runs, and whether it takes jobs.

A report holds for three rounds. So one that fails changes nothing, and a worker that dies without
notice stops being counted within a minute. The scaler and the metrics read these reports; no job
depends on them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from comfyline.contract.ids import WorkerId
from comfyline.service.clock import Clock
from comfyline.service.fleet.workers import Presence, PresenceStore
from gpu_worker.racing import background

EVERY = timedelta(seconds=20)
ROUNDS = 3  # one report is valid for this many rounds

_log = logging.getLogger(__name__)


@asynccontextmanager
async def reported_presence(
    store: PresenceStore,
    worker_id: WorkerId,
    running: Callable[[], int],
    clock: Clock,
    unhealthy: Callable[[], str | None] = lambda: None,
    every: timedelta = EVERY,
) -> AsyncIterator[None]:
    """Report the worker as up until the block ends, and as gone right after it.

    The first report is made before the block begins, so that the clock is compared with AWS before
    the first job. `unhealthy`: why the worker takes no job; None if it does.
    """

    async def report(holds: timedelta) -> None:
        presence = Presence(worker_id, running(), clock() + holds, unhealthy())
        try:
            await asyncio.to_thread(store.put, presence)
        except Exception:  # noqa: BLE001 - no job depends on it, so no error may end the worker
            extra = {"action": "presence_missed"}
            _log.warning("presence not reported", exc_info=True, extra=extra)

    async def report_for_ever() -> None:
        while True:
            await asyncio.sleep(every.total_seconds())
            await report(ROUNDS * every)

    try:
        await report(ROUNDS * every)
        async with background(report_for_ever()):
            yield
    finally:
        await report(timedelta(0))
