"""Decide whether an owner may have one more job: caps and rates, exact under any concurrency.

take ──> the job is put ──> … ──> the job ends ──> its slot is freed
  └─ the process dies: the slot has no job

The process that ends a job frees the slot at once, best effort. settle_jobs frees it in any case.
If neither has freed it yet, the next post that finds the cap reached does. A slot without a job is
dropped once it is older than SLOT_GRACE: by the sweeper, or by such a post.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.access.slots import OWNER_SHARDS, Full, Limits, OwnerStore, Taken
from comfyline.service.clock import Clock
from comfyline.service.errors import TooManyJobs, TooManyRequests
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore

# After this time a post has put its job or its process has died, because no function of the API
# runs for half as long.
SLOT_GRACE = timedelta(minutes=1)
RETRY_AFTER_SECONDS = 5  # a slot becomes free at once when its job ends, so 5 s is soon enough
# If the cap is reached, a post checks the owner's oldest slots, because their jobs have most likely
# ended. The limit bounds the cost: one batch read of 25 rows. Only an owner with a higher cap may
# be refused because of an ended job's slot, until the sweeper checks all slots in its next round.
OLDEST_SLOTS = 25

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Takes and frees slots. A job posted with a key without limits has no slot."""

    owners: OwnerStore
    jobs: JobStore
    clock: Clock

    def take(self, owner: OwnerId, job_id: JobId, limits: Limits) -> Taken | None:
        """Take a slot for the job; None if the owner has no limits.

        If no slot is free, this drops the slots of ended jobs and tries once more.

        Raises:
            TooManyJobs: every slot is taken by a job that has not ended.
            TooManyRequests: the owner has posted too often in this minute.
        """
        if not limits.needs_slots:
            return None
        taken = self.owners.take_slot(owner, job_id, limits, self.clock())
        if isinstance(taken, Full) and self._has_dropped_ended(owner, taken):
            taken = self.owners.take_slot(owner, job_id, limits, self.clock())
        if isinstance(taken, Taken):
            return taken
        if taken.by_rate:
            wait = 60 - int(self.clock().timestamp()) % 60
            raise TooManyRequests(f"The limit is {limits.jobs_per_minute} posts per minute.", wait)
        message = f"The limit is {limits.max_active_jobs} jobs that have not ended."
        raise TooManyJobs(message, RETRY_AFTER_SECONDS)

    def give_back(self, owner: OwnerId, job_id: JobId, taken: Taken | None) -> None:
        """Free the slot of a post that made no job, unless an earlier post has taken the slot."""
        if taken is not None and taken.is_new:
            self.owners.give_back(owner, job_id, taken)

    def free_slot(self, ended: Job) -> None:
        """Free the slot of an ended job; a repeated call changes nothing."""
        if ended.has_slot:
            self.owners.free_slot(ended.owner, ended.id, ended.finished_at or self.clock())

    def free_slots(self, ended: Sequence[Job]) -> None:
        """Free the slots of several ended jobs."""
        for job in ended:
            self.free_slot(job)

    def reconcile(self, ends_at: datetime) -> int:
        """Drop the slots of ended and missing jobs, until `ends_at`; returns how many."""
        rows = (row for shard in range(OWNER_SHARDS) for row in self.owners.slots(shard))
        in_time = takewhile(lambda _row: self.clock() < ends_at, rows)
        return sum(self._drop_ended(owner, slots) for owner, slots in in_time)

    def _has_dropped_ended(self, owner: OwnerId, full: Full) -> bool:
        return not full.by_rate and self._drop_ended(owner, _oldest(full.slots)) > 0

    def _drop_ended(self, owner: OwnerId, slots: Mapping[JobId, datetime]) -> int:
        now = self.clock()
        found = {job.id: job for job in self.jobs.get_many(list(slots))}
        over = [
            (job_id, taken_at)
            for job_id, taken_at in slots.items()
            if _is_over(found.get(job_id), taken_at, now)
        ]
        for job_id, taken_at in over:
            self.owners.give_back(owner, job_id, Taken(True, taken_at))
        if over:
            extra = {"action": "slots_dropped", "owner": owner, "dropped": len(over)}
            _log.info("slots dropped", extra=extra)
        return len(over)


def _oldest(slots: Mapping[JobId, datetime]) -> dict[JobId, datetime]:
    return dict(sorted(slots.items(), key=lambda slot: slot[1])[:OLDEST_SLOTS])


def _is_over(job: Job | None, taken_at: datetime, now: datetime) -> bool:
    """Whether the job of the slot has ended or was never put.

    A slot that is younger than the end of the job was taken for a later job of the same id, which
    the post may still put.
    """
    is_old = now - taken_at > SLOT_GRACE
    if job is None:
        return is_old
    return job.status.is_terminal and (taken_at <= (job.finished_at or now) or is_old)
