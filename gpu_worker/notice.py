"""Drain the worker when its spot instance gets the two minutes' notice, so that no job is lost.

ECS passes the notice on only if the instance's agent is configured to. So the worker asks for it
where it is made: at the instance's metadata.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gpu_worker.protection import FleetUnreachable

EVERY_SECONDS = 5.0  # as AWS recommends

_log = logging.getLogger(__name__)


async def drain_on_notice(
    is_leaving: Callable[[], Awaitable[bool]], drain: asyncio.Event, *, every: float = EVERY_SECONDS
) -> None:
    """Wait until the machine is about to be taken away, then set `drain`; `every` is in seconds.

    `is_leaving` returns true if the machine is about to be taken away; it may raise
    FleetUnreachable.
    """
    reachable = True
    while True:
        try:
            leaving, reachable = await is_leaving(), True
        except FleetUnreachable:
            leaving = False
            if reachable:  # once only: a machine without metadata would log it for ever
                extra = {"action": "notices_failed"}
                _log.warning("spot notices not reachable", exc_info=True, extra=extra)
            reachable = False
        if leaving:
            _log.warning("spot notice received", extra={"action": "notice_heard"})
            return drain.set()
        await asyncio.sleep(every)
