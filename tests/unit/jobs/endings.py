"""The ways in which a worker ends an attempt, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.finish import (
    EndCanceled,
    Ending,
    Fail,
    Finisher,
    GiveBack,
    Retry,
    RetryAfterFault,
    Succeed,
)
from comfyline.service.jobs.job import Job, JobError
from comfyline.service.queue.tickets import Ticket
from tests.support.builders import NOW, a_result, an_artifact
from tests.support.world import World

BOOM = JobError(type="boom", message="it broke", node_id="5", node_type="KSampler")

End = Callable[[Finisher, Job, Ticket], Job]


def succeed(finisher: Finisher, job: Job, ticket: Ticket) -> Job:
    files = [an_artifact(job)]
    return finisher.end(
        job, ticket, Succeed(cached=True, nodes_cached=0), result=a_result(*files), gpu_seconds=2.0
    )


def stop(finisher: Finisher, job: Job, ticket: Ticket) -> Job:
    """End the job as canceled. The worker has seen the cancel flag before."""
    canceling = replace(job, cancel_requested_at=job.cancel_requested_at or NOW)
    return finisher.end(canceling, ticket, EndCanceled(), gpu_seconds=2.0)


def ending_with(ending: Ending) -> End:
    return lambda finisher, job, ticket: finisher.end(job, ticket, ending, gpu_seconds=2.0)


ENDINGS: dict[str, End] = {
    "succeed": succeed,
    "fail": ending_with(Fail(BOOM)),
    "retry": ending_with(Retry(BOOM)),
    "fault_of_job": ending_with(RetryAfterFault(BOOM, is_healthy=True)),
    "fault_of_worker": ending_with(RetryAfterFault(BOOM, is_healthy=False)),
    "give_back": ending_with(GiveBack()),
    "stop": stop,
}
every_ending = pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)


def a_started_job(world: World) -> tuple[Job, Ticket]:
    world.submit()
    return world.started()


def request_cancel(world: World, job: Job) -> Job:
    return cancel(job.id, world.owner, store=world.store, clock=world.clock).job
