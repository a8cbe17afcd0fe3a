"""The one way a stored job changes: decide on what is known, write conditionally, decide again.

A lost race costs no read, since the failed write hands back the row as it is now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from comfyline.service.clock import Clock
from comfyline.service.errors import Conflict, JobNotFound, Unavailable
from comfyline.service.jobs.events import Event
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.lifecycle import RULES, advance
from comfyline.service.jobs.store import JobStore

# Each lost race means that somebody else's write won, so this many in a row is no race but a storm.
MAX_ATTEMPTS = 10

_log = logging.getLogger(__name__)


class Change(NamedTuple):
    """The row of a job before and after one write; `before` is None if that write added the row."""

    before: Job | None
    after: Job

    @property
    def ends_the_job(self) -> bool:
        """The job has ended with this write, not before it."""
        was_over = self.before is not None and self.before.status.is_terminal
        return self.after.status.is_terminal and not was_over


def change(store: JobStore, clock: Clock, job: Job, decide: Callable[[Job], Event | None]) -> Job:
    """Bring `job` through the event that `decide` names for it; None leaves it as it is.

    `decide` is asked again, with the row as it is now, each time somebody else was first. Returns
    the job as stored.

    Raises:
        JobNotFound: the row is gone, whether or not another job has its id by now.
        TransitionRefused, LeaseLost: the lifecycle forbids the event for the row as it is now.
        Unavailable: the row would not hold still.
    """
    for _ in range(MAX_ATTEMPTS):
        event = decide(job)
        if event is None:
            return job
        try:
            return apply(store, clock(), job, event)
        except Conflict as conflict:
            job = _current_or_gone(job, conflict)
    raise Unavailable(f"too many writers of {job.id}")


def apply(store: JobStore, now: datetime, job: Job, event: Event) -> Job:
    """One event, of `now`, by one conditional write; the job as stored.

    Raises:
        Conflict: somebody else was first.
        TransitionRefused, LeaseLost: the lifecycle forbids the event.
    """
    changed = store.save(job, advance(job, event, now))
    if RULES[type(event)].recorded:
        _log_change(changed, event)
    return changed


def current_or_not_found(job: Job, conflict: Conflict) -> Job:
    """The row that was in the way.

    Raises:
        JobNotFound: there is none any more.
    """
    if conflict.current is None:
        raise JobNotFound(job.id) from conflict
    return conflict.current


def _current_or_gone(job: Job, conflict: Conflict) -> Job:
    """The same job as it is now; one that was made anew under its id is another.

    Raises:
        JobNotFound: its record is gone.
    """
    current = current_or_not_found(job, conflict)
    if current.queued_at != job.queued_at:
        raise JobNotFound(job.id) from conflict
    return current


def _log_change(job: Job, event: Event) -> None:
    """Every change of state is logged here, once, whoever asked for it."""
    extra = {"action": "job_changed", "job_id": job.id, "event": type(event).__name__}
    numbers = {"status": job.status.value, "attempt": job.attempt, "version": job.version}
    _log.info("job changed", extra=extra | numbers | {"request_id": job.request_id})
