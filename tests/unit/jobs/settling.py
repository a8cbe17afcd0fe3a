"""A service with ended jobs that are not settled yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from comfyline.service.access.slots import Limits
from comfyline.service.jobs.finish import Succeed
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.settle import Settlement, Step
from comfyline.service.ledger.store import Usage
from tests.support.world import World

ONE_JOB = Limits(max_active_jobs=1)
SECOND = timedelta(seconds=1)


class SettlingWorld(World):
    """A service that allows its owner one active job."""

    def ended(self) -> Job:
        """A job that a worker has ended and that nothing has settled yet; its slot is taken."""
        self.submit(limits=ONE_JOB)
        job, ticket = self.started()
        finisher = replace(self.finisher(), free_slot=lambda _job: None)
        return finisher.end(job, ticket, Succeed(cached=False, nodes_cached=0), gpu_seconds=1.5)

    def slots(self) -> int:
        return len(self.owners.slots(0))

    def is_settled(self, job: Job, *, jobs: int = 1) -> bool:
        row = self.row(job.id)
        usage = self.ledger.usage(self.owner)
        assert usage in (Usage(), Usage(1.5 * jobs, jobs)), "an end was counted twice"
        return row.is_settled and usage.jobs == jobs and self.slots() == 0


def with_broken(settlement: Settlement, name: str, error: Exception) -> Settlement:
    def fail(_jobs: Sequence[Job]) -> None:
        raise error

    steps = [Step(s.name, fail) if s.name == name else s for s in settlement.steps]
    return replace(settlement, steps=steps)
