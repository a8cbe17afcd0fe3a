"""Repair, once a minute, what crashes and lost messages have left behind.

The sweeper has no rules about states of its own: it reads the jobs whose due time has come, and
`decide.on_due_time` chooses the event.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, TransitionRefused, Unavailable
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.change import change
from comfyline.service.jobs.decide import on_due_time
from comfyline.service.jobs.events import Event, Tidied
from comfyline.service.jobs.job import Job, void_prefixes
from comfyline.service.jobs.store import Conflict, JobStore
from comfyline.service.queue.tickets import JobQueue

BATCH = 500  # jobs per run, most overdue first; the next run continues a minute later

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Handles due jobs one by one, so that a job that fails does not stop the others."""

    store: JobStore
    queue: JobQueue
    artifacts: ArtifactStore
    clock: Clock

    def sweep(self) -> Counter[str]:
        """Handle one batch; returns how many jobs had which outcome, usually an event's name."""
        outcomes: Counter[str] = Counter()
        for job in self.store.due(self.clock(), BATCH):
            outcomes[self._outcome(job)] += 1
        return outcomes

    def _outcome(self, job: Job) -> str:
        try:
            return self._settle(job)
        except (Conflict, JobNotFound, TransitionRefused):
            return "ChangedMeanwhile"  # that change has set a new due time
        except Unavailable:
            _log.exception("job not swept", extra={"action": "sweep_failed", "job_id": job.id})
            return "Unavailable"

    def _settle(self, job: Job) -> str:
        now = self.clock()
        if job.is_past_retention(now):
            return self._remove(job)
        if job.status.is_terminal:
            return self._tidy(job)
        event = on_due_time(job, now)
        job = change(self.store, lambda: now, job, lambda current: on_due_time(current, now))
        if job.lease is None and not job.status.is_terminal:
            # Sent after the write. After a crash in between, the job is due again a little later.
            self.queue.send(job.id, job.owner, job.priority)
        return type(event).__name__

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


def _tidied_if_pending(job: Job) -> Event | None:
    return Tidied() if job.tidy_pending else None
