"""Renew the lease, then the visibility of the ticket, and do nothing else.

The heartbeat has its own clock, so a busy engine cannot stop it. It does not go on for ever: it
ends when the job's execution timeout and a grace period are over, even if the rest of the worker
hangs. Then the lease expires, and the sweeper ends the job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyline.service.clock import Clock
from comfyline.service.errors import LeaseLost, Unavailable
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import JobQueue, Ticket

# After its execution timeout a job may still be interrupted, and its files stored and listed. An
# attempt that takes longer than this hangs.
GRACE = timedelta(minutes=5)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Keeps the leases of this worker's jobs."""

    store: JobStore
    queue: JobQueue
    clock: Clock
    lease: timedelta  # how long a lease lasts from each renewal
    interval: timedelta  # between two renewals

    async def keep(
        self,
        job: Job,
        ticket: Ticket,
        *,
        renewed: Callable[[Job], None],
        lost: Callable[[], None],
    ) -> None:
        """Renew the job's lease until canceled, or until it is lost.

        `renewed` is called with the row of each answer, `lost` once if the lease is lost.
        """
        expires_at = self.clock() + self.lease
        give_up_at: datetime | None = None  # known once the attempt has started
        while True:
            await asyncio.sleep(self.interval.total_seconds())
            if give_up_at is not None and self.clock() > give_up_at:
                _log.error("heartbeat ended", extra={"action": "overran", "job_id": job.id})
                return lost()
            try:
                job = await asyncio.to_thread(self._renew, job, ticket)
            except LeaseLost:
                return lost()
            except Unavailable:
                _log.warning("heartbeat missed", extra={"action": "missed", "job_id": job.id})
                if self.clock() > expires_at:
                    return lost()
                continue
            expires_at = self.clock() + self.lease
            if job.attempt_started_at is not None:
                give_up_at = job.attempt_started_at + job.execution_timeout + GRACE
            renewed(job)

    def _renew(self, job: Job, ticket: Ticket) -> Job:
        job = self.store.renew(job, self.clock() + self.lease)
        self.queue.hide(ticket, int(self.lease.total_seconds()))
        return job
