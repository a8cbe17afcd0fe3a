"""A worker's attempt ends. The table is written first, then the ticket.

If the process dies between the two, the ticket comes back, finds the job ended or leased by nobody,
and is deleted or claimed: nothing is lost, nothing ends twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from comfyline.service.clock import Clock
from comfyline.service.jobs.change import change
from comfyline.service.jobs.events import Event, FailedForGood, Stopped, Succeeded
from comfyline.service.jobs.job import Artifact, Job, JobError
from comfyline.service.jobs.lifecycle import on_failure, on_interruption
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import JobQueue, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """Ends the attempt of a claimed job and settles its ticket.

    Every method returns the job as stored and raises LeaseLost where the attempt no longer holds
    it; then nothing was written and the ticket is left to whoever does.
    """

    store: JobStore
    queue: JobQueue
    clock: Clock

    def succeed(
        self,
        job: Job,
        ticket: Ticket,
        artifacts: Sequence[Artifact],
        *,
        cached: bool,
        gpu_seconds: float,
    ) -> Job:
        """Every output is stored: first the list, then the terminal write that makes it count."""
        self.store.put_artifacts(job, artifacts)
        event = Succeeded(attempt=job.attempt, cached=cached, gpu_seconds=gpu_seconds)
        return self._end(job, ticket, lambda _current: event)

    def fail(
        self,
        job: Job,
        ticket: Ticket,
        error: JobError,
        artifacts: Sequence[Artifact] = (),
        *,
        gpu_seconds: float = 0.0,
    ) -> Job:
        """The job's own error: trying again would repeat it. What it made before is listed."""
        if artifacts:
            self.store.put_artifacts(job, artifacts)
        event = FailedForGood(attempt=job.attempt, error=error, gpu_seconds=gpu_seconds)
        return self._end(job, ticket, lambda _current: event)

    def retry(self, job: Job, ticket: Ticket, error: JobError, *, gpu_seconds: float = 0.0) -> Job:
        """Not the job's fault: back into the queue, unless it failed too often."""
        return self._end(
            job,
            ticket,
            lambda current: on_failure(current, job.attempt, error, gpu_seconds=gpu_seconds),
        )

    def give_back(self, job: Job, ticket: Ticket, *, gpu_seconds: float = 0.0) -> Job:
        """The worker was told to go: back into the queue, which is no failure."""
        return self._end(
            job,
            ticket,
            lambda current: on_interruption(current, job.attempt, gpu_seconds=gpu_seconds),
        )

    def stop(self, job: Job, ticket: Ticket, *, gpu_seconds: float = 0.0) -> Job:
        """The job's cancel was asked, and it has stopped."""
        event = Stopped(attempt=job.attempt, gpu_seconds=gpu_seconds)
        return self._end(job, ticket, lambda _current: event)

    def _end(self, job: Job, ticket: Ticket, decide: Callable[[Job], Event]) -> Job:
        ended = change(self.store, self.clock, job, decide)
        if ended.status.is_terminal:
            self.queue.delete(ticket)
        else:
            self.queue.hide(ticket, 0)
        return ended
