"""A client with a cap of one job. It posts the next job at the moment at which the last ends."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import Any

from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.service.access.slots import Limits, OwnerStore
from comfyline.service.intake.submission import Accepted
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore
from tests.support.ports import wrapped
from tests.support.world import World

ONE_JOB = Limits(max_active_jobs=1)


class ImpatientClient(World):
    """Posts as soon as an end is stored: before the worker frees the slot, and before settlement.

    A refusal raises TooManyJobs.
    """

    def __init__(
        self, jobs: int, store: JobStore | None = None, owners: OwnerStore | None = None
    ) -> None:
        super().__init__()
        self.jobs = self.left = jobs
        self.ended, self.unsettled = list[Job](), deque[Job]()
        self.store: Any = wrapped(store or InMemoryJobStore(), self._around)
        self.owners: Any = owners or self.owners

    def _around(self, name: str, call: Any, *args: Any, **kwargs: Any) -> Any:
        stored = call(*args, **kwargs)
        if name == "save" and stored.status.is_terminal and not args[0].status.is_terminal:
            self.ended.append(stored)
            self.unsettled.append(stored)
            if self.left:
                self.post()
        return stored

    def post(self) -> Accepted:
        self.left -= 1
        return self.submit({"prompt": f"fox {self.left}"}, limits=ONE_JOB)

    def run(self, every: timedelta, *, settled_after: timedelta | None = None) -> None:
        """One worker ends a job at each step of time; settle_jobs settles the ends of this age."""
        self.post()
        for _ in range(self.jobs):
            self.clock.advance(every)
            self.succeeded()
            if settled_after is not None:
                self.settle_older_than(settled_after)
        assert (len(self.ended), self.left) == (self.jobs, 0)

    def settle_older_than(self, age: timedelta) -> None:
        while self.unsettled and finished_at(self.unsettled[0]) <= self.clock() - age:
            assert self.settlement().settle([self.unsettled.popleft()]) == []


def finished_at(job: Job) -> Any:
    assert job.finished_at is not None
    return job.finished_at
