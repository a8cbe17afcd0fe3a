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
# Some renewals may fail. A worker that hangs loses its protection soon after.
EXPIRES_MINUTES = 5

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
    protection: Protection, occupancy: Occupancy, *, every: float = EVERY_SECONDS
) -> None:
    """Protect the worker while it holds jobs, until canceled; `every` is in seconds."""
    while True:
        await occupancy.occupied.wait()
        while occupancy.occupied.is_set():
            await _ask(protection, protected=True)
            await asyncio.sleep(every)
        await _ask(protection, protected=False)


async def _ask(protection: Protection, *, protected: bool) -> None:
    try:
        await protection.ask(protected=protected)
    except FleetUnreachable:  # asked again after `every`, or it expires by itself
        extra = {"action": "protection_failed", "protected": protected}
        _log.warning("task protection not changed", exc_info=True, extra=extra)
