"""Settle ended jobs: free the slot and count the end, so that neither is lost or done twice.

    terminal write ──> settle_jobs runs each step ──> the event Settled: the job may be removed now
          │                  └─ a step that fails twice is parked in a queue and tried from there
          └─ leaves a due time: after SETTLE_DELAY, the sweeper settles the job

Rule: every step is idempotent and independent of the others. So settle_jobs, a parked step and the
sweeper may run a step in any order and at the same time. The event Settled comes last, and a job
without it is never removed, so every removed job was counted. A query for ended jobs that are
overdue finds everything that settlement has missed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from comfyline.contract.ids import JobId
from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, Unavailable
from comfyline.service.jobs.change import change
from comfyline.service.jobs.events import Event, Settled
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore

MAX_TRIES = 2  # of a step, within one call

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the end of a job requires. Running it again for the same job changes nothing.

    `name` is part of parked messages, so a step keeps its name.
    """

    name: str
    run: Callable[[Sequence[Job]], object]


@dataclass(frozen=True, slots=True)
class ParkedStep:
    """A step that failed twice for one job. A later job of the same id has another incarnation."""

    step: str
    job_id: JobId
    incarnation: str


class Parking(Protocol):
    """A queue for failed steps. It keeps each message for 14 days and delivers it again."""

    def park(self, steps: Sequence[ParkedStep]) -> None:
        """Store all of these.

        Raises:
            Unavailable: some are not stored; the same call may be repeated.
        """

    def set_aside(self, record: str) -> None:
        """Store the text of a stream record that this code cannot read.

        A text that no message can hold is left out. The row stays due, so the sweeper settles the
        job, or sets the row aside.

        Raises:
            Unavailable: it is not stored.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Runs the steps for ended jobs."""

    steps: Sequence[Step]
    store: JobStore
    clock: Clock

    def settle(self, ended: Sequence[Job]) -> list[ParkedStep]:
        """Run every step for every job, and note which jobs are settled.

        Returns the steps that failed twice. Their jobs stay due, and the other steps of these jobs
        are done.
        """
        failed = [
            ParkedStep(step.name, job.id, job.incarnation)
            for step in self.steps
            for job in _failing(step, ended)
        ]
        unsettled = {(each.job_id, each.incarnation) for each in failed}
        for job in ended:
            if (job.id, job.incarnation) not in unsettled:
                self._try_to_note(job)
        return failed

    def settle_parked(self, parked: ParkedStep) -> None:
        """Settle the job of a parked step.

        Raises:
            Unavailable: the parked step has failed again.
        """
        job = self.store.get(parked.job_id)
        if job is None or job.incarnation != parked.incarnation:
            return  # the row was removed, so the job was settled before
        if any(failed.step == parked.step for failed in self.settle([job])):
            raise Unavailable(f"{parked.step} of {job.id} failed again")

    def complete(self, job: Job) -> Job:
        """Settle one job before its row is removed or replaced; returns the row as stored.

        Raises:
            Unavailable: some step failed, or the note could not be written.
            JobNotFound: the row is gone.
        """
        failed = [step.name for step in self.steps if _failing(step, [job])]
        if failed:
            raise Unavailable(f"{job.id} is not settled: {', '.join(failed)} failed")
        return self._note(job)

    def _note(self, job: Job) -> Job:
        return change(self.store, self.clock, job, _settled_if_pending)

    def _try_to_note(self, job: Job) -> None:
        try:
            self._note(job)
        except JobNotFound:
            pass  # removed meanwhile, which only happens to settled jobs
        except Exception:  # noqa: BLE001 the job stays due, and the sweeper settles it once more
            extra = {"action": "settlement_not_noted", "job_id": job.id}
            _log.warning("settlement not noted", exc_info=True, extra=extra)


FreeSlot = Callable[[Job], object]
Settle = Callable[[Job], Job]  # Settlement.complete


def no_slots(_job: Job) -> None:
    """A `FreeSlot` where no owner has limits."""


def free_slot_early(job: Job, free_slot: FreeSlot) -> None:
    """Free the slot of a job right after its terminal write, best effort.

    settle_jobs frees it in any case, but seconds later. This way the client can post its next job
    as soon as it learns of the end.
    """
    try:
        free_slot(job)
    except Exception:  # noqa: BLE001 the job has ended, so the caller must not fail
        extra = {"action": "slot_not_freed_early", "job_id": job.id}
        _log.warning("slot not freed early", exc_info=True, extra=extra)


def _settled_if_pending(job: Job) -> Event | None:
    return Settled() if job.settle_pending else None


def _failing(step: Step, jobs: Sequence[Job]) -> Sequence[Job]:
    """The jobs for which the step fails twice."""
    for _ in range(MAX_TRIES):
        try:
            step.run(jobs)
        except Unavailable:
            _warn(step, jobs)
        except Exception:  # noqa: BLE001 no error of a step may stop the other steps
            # One job may be at fault, so the second try is for each job alone.
            _log.exception("settlement step failed", extra=_extra(step, jobs))
            return [job for job in jobs if not _succeeds(step, job)]
        else:
            return []
    return jobs


def _succeeds(step: Step, job: Job) -> bool:
    try:
        step.run([job])
    except Exception:  # noqa: BLE001 no error may stop the other jobs
        _log.exception("settlement step failed", extra=_extra(step, [job]))
        return False
    return True


def _warn(step: Step, jobs: Sequence[Job]) -> None:
    _log.warning("settlement step failed", exc_info=True, extra=_extra(step, jobs))


def _extra(step: Step, jobs: Sequence[Job]) -> dict[str, object]:
    only = {"job_id": jobs[0].id} if len(jobs) == 1 else {}
    return {"action": "settlement_step_failed", "step": step.name, "jobs": len(jobs), **only}
