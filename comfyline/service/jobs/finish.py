"""End a worker's attempt: the job's row is written first, then the ticket.

If the worker dies between the two writes, SQS delivers the ticket again. The next worker then finds
the job ended or without a lease, and deletes the ticket or claims the job: no job is lost, and no
job ends twice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, TransitionRefused, Unavailable
from comfyline.service.jobs.bounds import bounded
from comfyline.service.jobs.change import change
from comfyline.service.jobs.decide import on_failure, on_fault, on_interruption
from comfyline.service.jobs.events import Event, FailedForGood, Stopped, Succeeded
from comfyline.service.jobs.job import Job, JobError
from comfyline.service.jobs.result import JobResult, explained
from comfyline.service.jobs.settle import FreeSlot, free_slot_early, no_slots
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import JobQueue, Ticket


@dataclass(frozen=True, slots=True)
class Succeed:
    """The prompt succeeded, and every file that it made is stored."""

    cached: bool  # the result comes from an earlier run: ComfyUI only wrote its files again
    nodes_cached: int  # how many nodes ComfyUI did not execute again


@dataclass(frozen=True, slots=True)
class Fail:
    """The job itself is at fault: another try would fail in the same way."""

    error: JobError


@dataclass(frozen=True, slots=True)
class Retry:
    """The job is not at fault: it is queued again, unless it has failed too often."""

    error: JobError


@dataclass(frozen=True, slots=True)
class RetryAfterFault:
    """Disk, memory or GPU failed under the job: it is queued again, unless that is too often.

    `is_healthy`: the worker has passed its probe since, so that the job is probably the cause.
    Otherwise the worker is, and this does not count against the job.
    """

    error: JobError
    is_healthy: bool


@dataclass(frozen=True, slots=True)
class GiveBack:
    """The worker cannot go on with the job: it is queued again, and this is not a failure."""


@dataclass(frozen=True, slots=True)
class EndCanceled:
    """The prompt was stopped because the job's cancel had been requested."""


Ending = Succeed | Fail | Retry | RetryAfterFault | GiveBack | EndCanceled

NOTHING = JobResult()
NOT_STORED = JobError(
    type="not_stored",
    message="The service could not store the result of the job, or how it ended. This is a fault "
    "of the service, and its log has the reason.",
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """Ends the attempt of a claimed job, frees its slot, and deletes or returns its ticket."""

    store: JobStore
    queue: JobQueue
    clock: Clock
    free_slot: FreeSlot = no_slots
    engine_version: str | None = None  # which engine the errors of attempts come from

    def end(
        self,
        job: Job,
        ticket: Ticket,
        ending: Ending,
        *,
        result: JobResult = NOTHING,
        gpu_seconds: float = 0.0,
    ) -> Job:
        """End the attempt that `job` shows; the job as stored.

        `result` is bounded, and written before the row, because the terminal write makes it count.
        If the store refuses the result or the row for good, for example for its size, the job fails
        with NOT_STORED instead: another run would cost more GPU time and end in the same way.
        `gpu_seconds`: for how long this attempt has had the GPU.

        Raises:
            LeaseLost, JobNotFound: the attempt no longer holds the job. The row was not changed,
                and the ticket is left to the worker that holds the job now.
        """
        stored: int | None = None
        if result != NOTHING or isinstance(ending, Succeed):
            ending, stored = self._stored(job, ending, result)
        try:
            ended = self._ended(job, ending, gpu_seconds, stored)
        except (Unavailable, TransitionRefused, JobNotFound):
            raise
        except Exception:  # noqa: BLE001 - see above
            extra = {"action": "ending_not_stored", "job_id": job.id}
            _log.exception("ending not stored", extra=extra)
            ended = self._ended(job, Fail(NOT_STORED), gpu_seconds)
        self._finish_ticket(ticket, ended)
        return ended

    def _ended(
        self, job: Job, ending: Ending, gpu_seconds: float, stored: int | None = None
    ) -> Job:
        named = self._named(ending)
        return change(
            self.store,
            self.clock,
            job,
            lambda current: _event(current, job.attempt, named, gpu_seconds, stored),
        )

    def _named(self, ending: Ending) -> Ending:
        """The ending, with the engine in its error."""
        if isinstance(ending, Fail | Retry | RetryAfterFault):
            error = replace(ending.error, engine_version=self.engine_version)
            return replace(ending, error=error)
        return ending

    def _stored(self, job: Job, ending: Ending, result: JobResult) -> tuple[Ending, int | None]:
        """Store the result; the ending that the job has after that, and how many files it lists."""
        try:
            is_success = isinstance(ending, Succeed)
            self.store.put_result(job, bounded(explained(result) if is_success else result))
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - see `end`
            extra = {"action": "result_not_stored", "job_id": job.id}
            _log.exception("result not stored", extra=extra)
            return Fail(NOT_STORED) if is_success else ending, None
        return ending, len(result.artifacts)

    def _finish_ticket(self, ticket: Ticket, ended: Job) -> None:
        if ended.status.is_terminal:
            free_slot_early(ended, self.free_slot)
            self.queue.delete(ticket)
        else:
            self.queue.hide(ticket, 0)


def _event(
    current: Job, attempt: int, ending: Ending, gpu_seconds: float, stored: int | None
) -> Event:
    match ending:
        case Succeed(cached, nodes_cached):
            return Succeeded(
                attempt=attempt,
                cached=cached,
                nodes_cached=nodes_cached,
                gpu_seconds=gpu_seconds,
                stored=stored,
            )
        case Fail(error):
            return FailedForGood(
                attempt=attempt, error=error, gpu_seconds=gpu_seconds, stored=stored
            )
        case Retry(error):
            return on_failure(current, attempt, error, gpu_seconds=gpu_seconds)
        case RetryAfterFault(error, is_healthy):
            return on_fault(current, attempt, error, is_healthy=is_healthy, gpu_seconds=gpu_seconds)
        case GiveBack():
            return on_interruption(current, attempt, gpu_seconds=gpu_seconds)
        case EndCanceled():
            return Stopped(attempt=attempt, gpu_seconds=gpu_seconds)
