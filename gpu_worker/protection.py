"""Ask the fleet not to stop this worker while it holds a job.

Protection is requested with the first job, renewed before it expires, and given up when no job is
left. It is best effort: a worker that is stopped without it gives its jobs back, and they run on
another worker.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from gpu_worker.occupancy import Occupancy

# By the clock and not per job, because jobs of a second follow each other with a moment between.
EVERY_SECONDS = 60.0
# Renewed after so many looks, which is every ten minutes. All workers share the rate at which ECS
# takes the calls of an account.
LOOKS = 10
# Some renewals may fail. A worker that hangs loses its protection within half an hour.
EXPIRES_MINUTES = 30

_log = logging.getLogger(__name__)


class FleetUnreachable(Exception):
    """The fleet did not answer, or it refused the request."""


class Protection(Protocol):
    """Keeps the fleet from stopping this worker."""

    async def ask(self, *, protected: bool) -> None:
        """Protect the worker from now on for `EXPIRES_MINUTES`, or no longer.

        Raises:
            FleetUnreachable: nothing has changed.
        """


async def keep_protected(
    protection: Protection,
    occupancy: Occupancy,
    *,
    every: float = EVERY_SECONDS,
    looks: int = LOOKS,
) -> None:
    """Protect the worker while it holds jobs, until canceled.

    Looks `every` seconds whether it does, and renews the protection after so many `looks`. What the
    fleet has refused is asked again at the next look.
    """
    while True:
        await occupancy.occupied.wait()
        left = 0
        while occupancy.occupied.is_set():
            if left == 0:
                left = looks if await _ask(protection, protected=True) else 1
            left -= 1
            await asyncio.sleep(every)
        while not await _ask(protection, protected=False) and not occupancy.occupied.is_set():
            await asyncio.sleep(every)


async def _ask(protection: Protection, *, protected: bool) -> bool:
    """Whether the fleet has done it."""
    try:
        await protection.ask(protected=protected)
    except FleetUnreachable:
        extra = {"action": "protection_failed", "protected": protected}
        _log.warning("task protection not changed", exc_info=True, extra=extra)
        return False
    return True
