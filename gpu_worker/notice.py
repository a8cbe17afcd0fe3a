"""The two minutes' notice of a spot instance: the worker drains at once and loses nothing.

The orchestrator passes the notice on only where the instance's agent was told to, so it is asked
for where it is made.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from gpu_worker.protection import FleetUnreachable

EVERY_SECONDS = 5.0  # as AWS recommends

_log = logging.getLogger(__name__)


class Notices(Protocol):
    """What is announced to the machine that the worker runs on."""

    async def is_leaving(self) -> bool:
        """The machine is about to be taken away.

        Raises:
            FleetUnreachable: nobody knows.
        """


async def drain_on_notice(
    notices: Notices, drain: asyncio.Event, *, every: float = EVERY_SECONDS
) -> None:
    """Return when the machine is about to go, having set `drain`; `every` is in seconds."""
    reachable = True
    while True:
        try:
            leaving, reachable = await notices.is_leaving(), True
        except FleetUnreachable:
            leaving = False
            if reachable:  # where there is none it would be said for ever
                _log.warning("no notices", exc_info=True, extra={"action": "notices_failed"})
            reachable = False
        if leaving:
            _log.warning("the machine goes", extra={"action": "notice_heard"})
            return drain.set()
        await asyncio.sleep(every)
