"""While this worker holds a job, the fleet must not choose it to be stopped.

Asked for when the first job comes, asked for again before it ends by itself, given up once no job
is left. It is a favour: without it a stopped worker gives its jobs back, and they run elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from gpu_worker.slots import Slots

# Jobs of a second follow each other with a moment between: the fleet is asked by the clock.
EVERY_SECONDS = 60.0
# Some renewals may fail; a worker that hangs is free to be stopped soon after.
EXPIRES_MINUTES = 5

_log = logging.getLogger(__name__)


class FleetUnreachable(Exception):
    """Whoever keeps the fleet did not do what it was asked."""


class Protection(Protocol):
    """The fleet's promise not to stop this worker."""

    async def ask(self, *, protected: bool) -> None:
        """From now on it is protected for `EXPIRES_MINUTES`, or not at all.

        Raises:
            FleetUnreachable: nothing has changed.
        """


async def keep_protected(
    protection: Protection, slots: Slots, *, every: float = EVERY_SECONDS
) -> None:
    """Protect the worker while there are jobs, until cancelled; `every` is in seconds."""
    while True:
        await slots.taken.wait()
        while slots.taken.is_set():
            await _ask(protection, protected=True)
            await asyncio.sleep(every)
        await _ask(protection, protected=False)


async def _ask(protection: Protection, *, protected: bool) -> None:
    try:
        await protection.ask(protected=protected)
    except FleetUnreachable:  # asked again soon, or it ends by itself
        extra = {"action": "protection_failed", "protected": protected}
        _log.warning("not protected as it should be", exc_info=True, extra=extra)
