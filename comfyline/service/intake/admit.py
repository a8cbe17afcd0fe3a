"""Decide whether an owner may have one more job. Caps and rates are exact under concurrency.

take ──> the job is put ──> … ──> its end frees the slot, before subscribers learn of the end
  └─ the process dies: the slot of a job that does not exist. The sweeper drops it after SLOT_GRACE,
     or the next post does, if the owner has no free slot.
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

# A slot this old has its job, or its post has died: no function runs longer than half of this.
SLOT_GRACE = timedelta(minutes=1)
RETRY_AFTER_SECONDS = 5  # a slot is freed when its job ends; more frequent posts only cost

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Takes and frees slots. Owners whose API key has no limits need none."""

    owners: OwnerStore
    jobs: JobStore
    clock: Clock

    def take(self, owner: OwnerId, job_id: JobId, limits: Limits) -> Taken | None:
        """Take a slot for the job; None if the owner has no limits.

        Slots of ended jobs do not count: they are dropped first if no other slot is free.

        Raises:
            TooManyJobs: every slot is taken.
            TooManyRequests: the owner has posted too much in this minute.
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
            raise TooManyRequests(f"The limit is {limits.jobs_per_minute} posts per minute.", wait)
        message = f"The limit is {limits.max_active_jobs} jobs that have not ended."
        raise TooManyJobs(message, RETRY_AFTER_SECONDS)

    def give_back(self, owner: OwnerId, job_id: JobId, taken: Taken | None) -> None:
        """Free the slot of a post that made no job, unless an earlier post took the same slot."""
        if taken is not None and taken.is_new:
            self.owners.give_back(owner, job_id, taken)

    def ended(self, job: Job) -> None:
        """Free the slot of a job that has ended. Doing it twice is harmless."""
        if job.has_slot:
            self.owners.free_slot(job.owner, job.id, job.finished_at or self.clock())

    def reconcile_all(self) -> int:
        """Drop every slot whose job has ended or does not exist; the number of dropped slots."""
        rows = [row for shard in range(OWNER_SHARDS) for row in self.owners.slots(shard)]
        return sum(self.reconcile(owner, slots) for owner, slots in rows)

    def reconcile(self, owner: OwnerId, slots: Mapping[JobId, datetime]) -> int:
        """Drop those of an owner's slots whose job has ended or does not exist; their number."""
        now = self.clock()
        found = {job.id: job for job in self.jobs.get_many(list(slots))}
        dropped = 0
        for job_id, taken_at in slots.items():
            job = found.get(job_id)
            is_over = job is not None and job.status.is_terminal and _is_of(job, taken_at, now)
            if is_over or (job is None and now - taken_at > SLOT_GRACE):
                self.owners.give_back(owner, job_id, Taken(True, taken_at))
                dropped += 1
        if dropped:
            extra = {"action": "slots_dropped", "owner": owner, "dropped": dropped}
            _log.info("slots dropped", extra=extra)
        return dropped


def _is_of(ended: Job, taken_at: datetime, now: datetime) -> bool:
    """Whether the slot belongs to the ended job, not to a new job of the same id."""
    finished_at = ended.finished_at or now
    return taken_at <= finished_at or now - taken_at > SLOT_GRACE
