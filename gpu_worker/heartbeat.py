"""Renew the lease, then the ticket's visibility, and do nothing else.

The heart beats on its own clock, so a busy engine cannot stop it; but it does not beat for ever:
past the job's deadline and a grace it ends, whatever the main loop does, and the sweeper ends the
job.
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

# After its deadline a job may still be interrupted, collected and written; longer is a hang.
GRACE = timedelta(minutes=5)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What it beats with, and how often."""

    store: JobStore
    queue: JobQueue
    clock: Clock
    lease: timedelta
    interval: timedelta

    async def keep(
        self,
        job: Job,
        ticket: Ticket,
        *,
        renewed: Callable[[Job], None],
        lost: Callable[[], None],
    ) -> None:
        """Beat until cancelled; `renewed` hears each answer, `lost` once if the lease is gone."""
        expires_at = self.clock() + self.lease
        give_up_at: datetime | None = None
        while True:
            await asyncio.sleep(self.interval.total_seconds())
            if give_up_at is not None and self.clock() > give_up_at:
                _log.error("heartbeat ended", extra={"action": "overran", "job_id": job.id})
                return lost()
            try:
                job = await asyncio.to_thread(self._beat, job, ticket)
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

    def _beat(self, job: Job, ticket: Ticket) -> Job:
        job = self.store.renew(job, self.clock() + self.lease)
        self.queue.hide(ticket, int(self.lease.total_seconds()))
        return job
