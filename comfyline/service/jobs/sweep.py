"""Repair, once a minute, the jobs that a crash or a lost message has left unfinished.

The sweeper has no rules about states: it reads the jobs that are due, and `decide.on_due_time`
chooses the event. Live jobs come first, because their owners wait for them;
then come the jobs that settle_jobs has missed, and last the removals.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, TransitionRefused, Unavailable
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.change import change
from comfyline.service.jobs.decide import on_due_time
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.events import Event, Settled, SettlementFailed, Tidied
from comfyline.service.jobs.job import Job, void_prefixes
from comfyline.service.jobs.settle import Settlement
from comfyline.service.jobs.store import Conflict, JobStore
from comfyline.service.queue.tickets import JobQueue

# Jobs read in a run; the next run continues a minute later. DUE_BATCH is for live jobs and jobs
# that are not settled. It is large, so that live jobs are found even after settle_jobs has stopped
# for hours and has left thousands of ended jobs.
DUE_BATCH, REMOVAL_BATCH = 10_000, 500
# A younger end is left to settle_jobs, which usually settles it within seconds.
SETTLE_PATIENCE = timedelta(minutes=1)
SETTLE_BATCH = 100  # settled together, so that they share the writes of the totals
# No job is started later than this after the start of a run, so that Lambda, which allows 55 s,
# does not end the run in the middle of a job.
RUN_TIME = timedelta(seconds=45)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Handles due jobs so that a job that fails does not stop the others."""

    store: JobStore
    queue: JobQueue
    artifacts: ArtifactStore
    settlement: Settlement
    clock: Clock

    def sweep(self) -> Counter[str]:
        """Handle one batch; returns the number of jobs by outcome, usually an event's name."""
        run = _Run(self.clock)
        due = self.store.due(self.clock(), DUE_BATCH, settled=False)
        run.each(self._sweep_live, [job for job in due if not job.status.is_terminal])
        missed = [job for job in due if job.settle_pending and self._is_missed(job)]
        for start in range(0, len(missed), SETTLE_BATCH):
            run.all_at_once(self._settle, missed[start : start + SETTLE_BATCH])
        settled = self.store.due(self.clock(), REMOVAL_BATCH, settled=True)
        ended = {job.id: job for job in (*due, *settled)}  # some were settled a moment ago
        run.each(self._clean_up, [job for job in ended.values() if self._is_void(job)])
        return run.outcomes

    # --- live jobs --------------------------------------------------------------------------------

    def _sweep_live(self, job: Job) -> str:
        now = self.clock()
        event = on_due_time(job, now)
        job = change(self.store, lambda: now, job, lambda current: on_due_time(current, now))
        if job.lease is None and not job.status.is_terminal:
            # Sent after the write. After a crash in between, the job is due again a little later.
            self.queue.send(job.id, job.owner, job.priority)
        return type(event).__name__

    # --- ended jobs -------------------------------------------------------------------------------

    def _is_missed(self, job: Job) -> bool:
        return job.finished_at is not None and job.finished_at + SETTLE_PATIENCE <= self.clock()

    def _settle(self, missed: Sequence[Job]) -> Counter[str]:
        """Settle jobs that settle_jobs has missed; those that fail are tried again in an hour."""
        failed = {parked.job_id for parked in self.settlement.settle(missed)}
        for job in missed:
            if job.id in failed:
                with suppress(JobNotFound):
                    change(self.store, self.clock, job, _delayed_if_pending)
        done = {Settled.__name__: len(missed) - len(failed), SettlementFailed.__name__: len(failed)}
        return Counter({event: jobs for event, jobs in done.items() if jobs})

    def _is_void(self, job: Job) -> bool:
        """The job, or some of its files, are to be removed now."""
        now, end = self.clock(), job.finished_at
        is_untidy = job.tidy_pending and end is not None and end + TIDY_DELAY <= now
        return is_untidy or (job.is_settled and job.is_past_retention(now))

    def _clean_up(self, job: Job) -> str:
        is_removable = job.is_settled and job.is_past_retention(self.clock())
        return self._remove(job) if is_removable else self._tidy(job)

    def _tidy(self, job: Job) -> str:
        """Remove the void files of an ended job, then note it in the row.

        In this order, so that a crash in between repeats the removal instead of skipping it.
        """
        for prefix in void_prefixes(job):
            self.artifacts.delete_prefix(prefix)
        change(self.store, self.clock, job, _tidied_if_pending)
        return Tidied.__name__

    def _remove(self, job: Job) -> str:
        # Files first: after a crash in between, the next run finds a row without files again, but
        # nothing would find files without a row.
        self.artifacts.delete_prefix(job.artifact_prefix)
        self.store.delete(job)
        return "Removed"


class _Run:
    """Counts the outcomes of one run, and starts nothing more when its time is over."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._ends_at = clock, clock() + RUN_TIME
        self.outcomes: Counter[str] = Counter()

    def each(self, handle: Callable[[Job], str], jobs: Iterable[Job]) -> None:
        """Handle each job alone."""
        for job in jobs:
            self.all_at_once(lambda some: Counter([handle(some[0])]), [job])

    def all_at_once(
        self, handle: Callable[[Sequence[Job]], Counter[str]], jobs: Sequence[Job]
    ) -> None:
        """Handle several jobs together."""
        if self._clock() >= self._ends_at:
            self.outcomes["OutOfTime"] += len(jobs)
            return
        self.outcomes += _outcome(handle, jobs)


def _outcome(handle: Callable[[Sequence[Job]], Counter[str]], jobs: Sequence[Job]) -> Counter[str]:
    try:
        return handle(jobs)
    except (Conflict, JobNotFound, TransitionRefused):
        return Counter({"ChangedMeanwhile": len(jobs)})  # that change has set a new due time
    except Unavailable:
        extra = {"action": "sweep_failed", "job_id": jobs[0].id, "jobs": len(jobs)}
        _log.exception("jobs not swept", extra=extra)
        return Counter({"Unavailable": len(jobs)})


def _tidied_if_pending(job: Job) -> Event | None:
    return Tidied() if job.tidy_pending else None


def _delayed_if_pending(job: Job) -> Event | None:
    return SettlementFailed() if job.settle_pending else None
