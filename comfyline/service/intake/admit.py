"""Whether an owner may have one more job: caps and rates, exact however many ask at once.

take ──> the job is put ──> … ──> its end frees the slot, before the end is told
  └─ the process dies: a slot of a job that is not there; dropped after SLOT_GRACE by the sweeper,
     or by the next post that finds the owner full
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.access.slots import OWNER_SHARDS, Full, Limits, OwnerStore, Taken
from comfyline.service.clock import Clock
from comfyline.service.errors import TooManyJobs, TooManyRequests
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore

# A post that took a slot has put its job, or is dead: no function runs longer than half of this.
SLOT_GRACE = timedelta(minutes=1)
RETRY_AFTER_SECONDS = 5  # a job that ends frees its slot at once; asking more often only costs

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Takes and frees slots of owners whose key has limits; it does nothing for the others."""

    owners: OwnerStore
    jobs: JobStore
    clock: Clock

    def take(self, owner: OwnerId, job_id: JobId, limits: Limits) -> Taken | None:
        """A slot for the job, or None where nothing is limited.

        Raises:
            TooManyJobs, TooManyRequests: there is none; jobs that have ended do not count.
        """
        if limits == Limits():
            return None
        taken = self.owners.take_slot(owner, job_id, limits, self.clock())
        if isinstance(taken, Full) and not taken.by_rate and self.reconcile(owner, taken.slots):
            taken = self.owners.take_slot(owner, job_id, limits, self.clock())
        if isinstance(taken, Taken):
            return taken
        if taken.by_rate:
            wait = 60 - int(self.clock().timestamp()) % 60
            raise TooManyRequests(f"At most {limits.jobs_per_minute} jobs a minute.", wait)
        message = f"At most {limits.max_active_jobs} jobs that have not ended."
        raise TooManyJobs(message, RETRY_AFTER_SECONDS)

    def give_back(self, owner: OwnerId, job_id: JobId, taken: Taken | None) -> None:
        """The post made no job after all: free the slot, unless another post had it before."""
        if taken is not None and taken.is_new:
            self.owners.give_back(owner, job_id, taken)

    def ended(self, job: Job) -> None:
        """The job has ended: free its slot. Told twice is no harm."""
        if job.has_slot:
            self.owners.free_slot(job.owner, job.id, job.finished_at or self.clock())

    def reconcile_all(self) -> int:
        """Drop every slot of a job that has ended or never was; how many."""
        rows = [row for shard in range(OWNER_SHARDS) for row in self.owners.slots(shard)]
        return sum(self.reconcile(owner, slots) for owner, slots in rows)

    def reconcile(self, owner: OwnerId, slots: Mapping[JobId, datetime]) -> int:
        """Drop those of an owner's slots whose job has ended or never was; how many."""
        now = self.clock()
        found = {job.id: job for job in self.jobs.get_many(list(slots))}
        dropped = 0
        for job_id, taken_at in slots.items():
            job = found.get(job_id)
            is_over = job is not None and job.status.is_terminal and _is_before(taken_at, now, job)
            if is_over or (job is None and now - taken_at > SLOT_GRACE):
                self.owners.give_back(owner, job_id, Taken(True, taken_at))
                dropped += 1
        if dropped:
            extra = {"action": "slots_dropped", "owner": owner, "dropped": dropped}
            _log.info("slots dropped", extra=extra)
        return dropped


def _is_before(taken_at: datetime, now: datetime, ended: Job) -> bool:
    """The slot is of the job that ended, not of a later one of the same id that is being put."""
    finished_at = ended.finished_at or now
    return taken_at <= finished_at or now - taken_at > SLOT_GRACE
