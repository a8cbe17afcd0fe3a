"""Decide whether an owner may have one more job: caps and rates, exact under any concurrency.

take ──> the job is put ──> … ──> the job ends ──> its slot is freed
  └─ the process dies: the slot has no job

Each post takes one slot, named after the incarnation of the job that it would put. Of
several posts of one job only one puts it. The others hand their slots over (`hand_over`).

The process that ends a job frees the slot at once, best effort. settle_jobs frees it in any case.
If neither has freed it yet, the next post that finds the cap reached does. A slot without a job is
dropped once it is older than SLOT_GRACE: by the sweeper, or by such a post.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.access.budgets import ACTIVE_JOBS, POSTS
from comfyline.service.access.slots import (
    OWNER_SHARDS,
    Limits,
    OwnerStore,
    Refusal,
    Slot,
    minute_of,
)
from comfyline.service.clock import Clock
from comfyline.service.errors import TooManyJobs, TooManyRequests
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore

# After this time a post has put its job or its process has died, because no function of the API
# runs for half as long.
SLOT_GRACE = timedelta(minutes=1)
# The sweeper checks each slot in its first minutes, and later once every CHECK_MINUTES, so that the
# cost of a round does not grow with the number of jobs that simply wait.
YOUNG, CHECK_MINUTES = timedelta(minutes=4), 60
RETRY_AFTER_SECONDS = 5  # a slot becomes free at once when its job ends, so 5 s is soon enough
# If the cap is reached, a post checks the owner's oldest slots, because their jobs have most likely
# ended. The limit bounds the cost: two calls and some 30 read units. Only an owner with a higher
# cap may be refused because of an ended job's slot, until the sweeper's next round.
OLDEST_SLOTS = 25
# Other posts of the owner may take what this post has freed. For each further try one succeeded.
MAX_TRIES_AT_CAP = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Takes and frees slots. A job posted with a key without a cap has no slot."""

    owners: OwnerStore
    jobs: JobStore
    clock: Clock

    def take(self, job: Job, limits: Limits) -> Slot | None:
        """Take a slot for a job that is about to be put; None if its owner has no cap.

        If no slot is free, this drops the slots of ended jobs and tries again. It also takes
        over the slot of an earlier post of the same job that has not put it.

        Raises:
            TooManyJobs: every slot is taken by a job that has not ended.
            TooManyRequests: the owner has posted too often in this minute.
        """
        if not limits.needs_slots:
            return None
        slot = slot_of(job)
        refusal = self.owners.take_slot(job.owner, slot, limits, self.clock())
        if refusal is Refusal.CAP:
            refusal = self._take_after_all(job.owner, slot, limits)
        if refusal is Refusal.RATE:
            wait = 60 - int(self.clock().timestamp()) % 60
            raise TooManyRequests(
                f"The limit is {limits.jobs_per_minute} posts per minute.", wait, POSTS
            )
        if refusal is Refusal.CAP:
            message = f"The limit is {limits.max_active_jobs} jobs that have not ended."
            raise TooManyJobs(message, RETRY_AFTER_SECONDS, ACTIVE_JOBS)
        return slot if limits.max_active_jobs is not None else None

    def _take_after_all(self, owner: OwnerId, slot: Slot, limits: Limits) -> Refusal | None:
        refusal: Refusal | None = Refusal.CAP
        for _ in range(MAX_TRIES_AT_CAP):
            oldest = self.owners.oldest_slots(owner, OLDEST_SLOTS)
            found = {job.id: job for job in self.jobs.get_many([each.job_id for each in oldest])}
            for earlier in oldest:
                is_of_this_job = earlier.job_id == slot.job_id and slot.job_id not in found
                if is_of_this_job and self.owners.move_slot(owner, earlier, slot):
                    return None
            dropped = self._drop_ended([(owner, each) for each in oldest], found)
            if not dropped and not _has_room(oldest, limits):
                break
            refusal = self.owners.take_slot(owner, slot, limits, self.clock())
            if refusal is not Refusal.CAP:
                break
        return refusal

    def hand_over(self, slot: Slot | None, existing: Job) -> None:
        """Give up the slot of a post that has found its job put by another post.

        That job keeps it if its own slot was taken over meanwhile.
        """
        if slot is None:
            return
        if existing.has_slot and not existing.status.is_terminal:
            self.owners.move_slot(existing.owner, slot, slot_of(existing))
        else:
            self.owners.free_slot(existing.owner, slot)

    def give_back(self, owner: OwnerId, slot: Slot | None) -> None:
        """Free the slot of a post that makes no job."""
        if slot is not None:
            self.owners.free_slot(owner, slot)

    def free_slot(self, ended: Job) -> None:
        """Free the slot of an ended job; a repeated call changes nothing."""
        if ended.has_slot:
            self.owners.free_slot(ended.owner, slot_of(ended))

    def free_slots(self, ended: Sequence[Job]) -> None:
        """Free the slots of several ended jobs."""
        for job in ended:
            self.free_slot(job)

    def reconcile(self, ends_at: datetime) -> int:
        """Drop the slots of ended and missing jobs, until `ends_at`; returns how many."""
        dropped, now = 0, self.clock()
        for shard in range(OWNER_SHARDS):
            if self.clock() >= ends_at:
                break
            held = [each for each in self.owners.slots(shard) if _is_checked_now(each[1], now)]
            found = self.jobs.get_many([slot.job_id for _, slot in held])
            dropped += self._drop_ended(held, {job.id: job for job in found})
        return dropped

    def drop_void(self, owner: OwnerId, slot: Slot) -> bool:
        """Drop one slot, if its job has ended, is missing, or was put by another post."""
        found = self.jobs.get_many([slot.job_id])
        return self._drop_ended([(owner, slot)], {job.id: job for job in found}) > 0

    def _drop_ended(self, held: Sequence[tuple[OwnerId, Slot]], jobs: Mapping[JobId, Job]) -> int:
        now, dropped = self.clock(), 0
        for owner, slot in held:
            job = jobs.get(slot.job_id)
            if _is_over(slot, job, now):
                self.owners.free_slot(owner, slot)
                dropped += 1
            elif job is not None and _is_of_a_dead_post(slot, job, now):
                self.hand_over(slot, job)
                dropped += 1
        if dropped:
            _log.info("slots dropped", extra={"action": "slots_dropped", "dropped": dropped})
        return dropped


def slot_of(job: Job) -> Slot:
    """The slot that the post of this incarnation of the job has taken."""
    return Slot(job.id, job.queued_at)


def _has_room(oldest: Sequence[Slot], limits: Limits) -> bool:
    """Whether other processes have freed slots since the cap was found reached."""
    cap = limits.max_active_jobs
    return cap is not None and len(oldest) < min(cap, OLDEST_SLOTS)


def _is_checked_now(slot: Slot, now: datetime) -> bool:
    age = now - slot.queued_at
    is_its_turn = zlib.crc32(slot.job_id.encode()) % CHECK_MINUTES == minute_of(now) % CHECK_MINUTES
    return age > SLOT_GRACE and (age < YOUNG or is_its_turn)


def _is_over(slot: Slot, job: Job | None, now: datetime) -> bool:
    """Whether the job of the slot has ended or was never put.

    A post that is younger than SLOT_GRACE may still put its job.
    """
    if job is not None and job.queued_at == slot.queued_at:
        return job.status.is_terminal
    is_old = now - slot.queued_at > SLOT_GRACE
    return is_old and (job is None or job.status.is_terminal)


def _is_of_a_dead_post(slot: Slot, job: Job, now: datetime) -> bool:
    """Whether another post has put the job, and the slot's post died before it gave it up."""
    return job.queued_at != slot.queued_at and now - slot.queued_at > SLOT_GRACE
