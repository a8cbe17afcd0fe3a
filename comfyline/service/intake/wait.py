"""Answer a post when its job has ended, within bounds: each wait occupies a function."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyline.service.access.budgets import wait_share
from comfyline.service.access.semaphore import Semaphore, Share
from comfyline.service.access.slots import Limits
from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, Unavailable
from comfyline.service.jobs.job import Job, JobRecord
from comfyline.service.jobs.read import read_job
from comfyline.service.jobs.store import JobStore

# Twice the timeout of the functions that wait, so that a place expires only after the function that
# held it has ended.
PLACE_LIFETIME = timedelta(minutes=1)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two reads of the job
# The gateway ends a request after 30 s. A client that waits in vain connects again at once, so the
# longer the hold, the cheaper a waiting job.
SHORTEST_HOLD, LONGEST_HOLD = timedelta(seconds=1), timedelta(seconds=20)
LOOK_PAUSE = 0.25  # seconds between two reads of a followed job
# After the first change, more follow: a worker tells of progress twice a second.
GATHER = 0.5
WATCHED_FOR = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitRoom:
    """Waits for jobs to end or to change, for at most `max_waits` callers at a time.

    An owner has a share of the places, so that others find one, and one place for each job.
    """

    jobs: JobStore
    places: Semaphore
    clock: Clock
    max_waits: int
    sleep: Callable[[float], None] = time.sleep

    def wait(self, job: Job, seconds: int, limits: Limits) -> JobRecord | None:
        """The job's record once it has ended; None if it does not end in time or there is no place.

        Raises:
            Unavailable: the jobs or the places are out of reach.
        """
        now = self.clock()
        share = Share(job.owner, job.id, wait_share(self.max_waits, limits))
        until = now + PLACE_LIFETIME
        place = self.places.enter(self.max_waits, now=now, until=until, share=share)
        if place is None:
            return None
        try:
            return self._ended(job, now + timedelta(seconds=seconds))
        finally:
            self.places.leave(place)

    def follow(self, job: Job, watcher: str, limits: Limits) -> Job | None:
        """The job when it has ended, or a moment after a change; None if there is no place.

        A watcher has seen nothing of what changed before it asked. So the younger the job's last
        change is, the sooner this returns, from 1 s up to LONGEST_HOLD, though nothing changes.

        Raises:
            Unavailable: the places are out of reach.
        """
        now = self.clock()
        hold = min(max(now - job.changed_at, SHORTEST_HOLD), LONGEST_HOLD)
        share = Share(job.owner, f"{job.id} {watcher}", wait_share(self.max_waits, limits))
        until = now + PLACE_LIFETIME
        place = self.places.enter(self.max_waits, now=now, until=until, share=share)
        if place is None:
            return None
        try:
            self._watch(job, now)
            return self._changed(job, now + hold)
        finally:
            self.places.leave(place)

    def _watch(self, job: Job, now: datetime) -> None:
        """Let the worker tell of progress at its fast pace, by one write for several polls."""
        if not job.is_watched(now + LONGEST_HOLD):
            with suppress(Unavailable):
                self.jobs.watch(job.id, now + WATCHED_FOR)

    def _changed(self, job: Job, until: datetime) -> Job:
        changed = self._looked_at(job, until, lambda now: now.version != job.version)
        if changed.version == job.version:
            return changed
        gathered = self.clock() + timedelta(seconds=GATHER)
        return self._looked_at(changed, gathered, lambda _: False)

    def _looked_at(self, job: Job, until: datetime, is_enough: Callable[[Job], bool]) -> Job:
        """Read the job until it has ended, `is_enough`, or the time is over; the last read."""
        current = job
        while not (current.status.is_terminal or is_enough(current)):
            left = (until - self.clock()).total_seconds()
            if left <= 0:
                break
            self.sleep(min(LOOK_PAUSE, left))
            current = self._latest(current)
        return current

    def _latest(self, job: Job) -> Job:
        """The job as it is; as it was while the store is out of reach, or if it is removed."""
        try:
            return self.jobs.get(job.id) or job
        except Unavailable:
            return job

    def _ended(self, job: Job, until: datetime) -> JobRecord | None:
        pause = FIRST_PAUSE
        current: Job | None = job
        while current is not None and not current.status.is_terminal:
            left = (until - self.clock()).total_seconds()
            if left <= 0:
                return None
            self.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)
            current = self.jobs.get(job.id)
        with suppress(JobNotFound):
            return read_job(job.id, job.principal, store=self.jobs, clock=self.clock)
        return None
