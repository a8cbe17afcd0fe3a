"""Answer a post only when its job has ended, within bounds: a wait holds a function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.access.slots import Full, Limits, OwnerStore, Taken
from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound
from comfyline.service.jobs.job import Job, JobRecord
from comfyline.service.jobs.read import read_job
from comfyline.service.jobs.store import JobStore

WAIT_ROOM = OwnerId("~waits")  # no owner's name: those begin with a letter or a digit
MAX_WAITS = Limits(max_active_jobs=100)  # a tenth of an account's concurrent functions
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two looks


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitRoom:
    """Waits for jobs to end; a place that a dead function leaves is freed by the sweeper."""

    jobs: JobStore
    places: OwnerStore
    clock: Clock
    sleep: Callable[[float], None]

    def wait(self, job: Job, place: str, seconds: int) -> JobRecord | None:
        """The job's record once it has ended; None if it has not in time, or the room is full."""
        name = JobId(place)
        taken = self.places.take_slot(WAIT_ROOM, name, MAX_WAITS, self.clock())
        if isinstance(taken, Full):
            return None
        try:
            return self._watch(job, self.clock() + timedelta(seconds=seconds))
        finally:
            self.places.give_back(WAIT_ROOM, name, Taken(True, taken.at))

    def _watch(self, job: Job, until: datetime) -> JobRecord | None:
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
            return read_job(job.id, job.owner, store=self.jobs, clock=self.clock)
        return None
