"""Change a stored job: choose an event, write it conditionally, and choose again after a conflict.

Every change of a stored job goes through `apply`, except heartbeats and watches, which the store
writes directly. A lost race costs no read, because the refused write returns the current row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, Unavailable
from comfyline.service.jobs.events import Claimed, Event
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.lifecycle import RULES, advance
from comfyline.service.jobs.store import Conflict, JobStore

# Each lost race means that another write succeeded. So many in a row do not happen by chance: too
# many writers change this job.
MAX_ATTEMPTS = 10

_log = logging.getLogger(__name__)


class Change(NamedTuple):
    """The row of a job before and after one write; `before` is None if that write added the row."""

    before: Job | None
    after: Job

    @property
    def ends_the_job(self) -> bool:
        """Whether this write has ended the job."""
        was_over = self.before is not None and self.before.status.is_terminal
        return self.after.status.is_terminal and not was_over


def change(store: JobStore, clock: Clock, job: Job, decide: Callable[[Job], Event | None]) -> Job:
    """Write the event that `decide` chooses for `job`; if it chooses None, write nothing.

    When another writer was faster, `decide` is called again with the current row. Returns the job
    as stored.

    Raises:
        JobNotFound: the row is gone. Another job may have its id by now.
        TransitionRefused, LeaseLost: the lifecycle forbids the event for the current row.
        Unavailable: other writers were faster MAX_ATTEMPTS times.
    """
    for _ in range(MAX_ATTEMPTS):
        event = decide(job)
        if event is None:
            return job
        try:
            return apply(store, clock(), job, event)
        except Conflict as conflict:
            job = _current_or_gone(job, conflict)
    raise Unavailable(f"{job.id}: other writers were faster {MAX_ATTEMPTS} times in a row")


def apply(store: JobStore, now: datetime, job: Job, event: Event) -> Job:
    """Write one event that happens at `now`, by one conditional write; returns the job as stored.

    Raises:
        Conflict: another writer was faster.
        TransitionRefused, LeaseLost: the lifecycle forbids the event.
    """
    changed = store.save(job, advance(job, event, now))
    if RULES[type(event)].recorded:
        _log_change(changed, event)
    return changed


def current_or_not_found(job: Job, conflict: Conflict) -> Job:
    """The row that made the write fail.

    Raises:
        JobNotFound: there is no row any more.
    """
    if conflict.current is None:
        raise JobNotFound(job.id) from conflict
    return conflict.current


def _current_or_gone(job: Job, conflict: Conflict) -> Job:
    """The current row of the same job. A row with another `queued_at` is a new job of its id.

    Raises:
        JobNotFound: the job's row is gone.
    """
    current = current_or_not_found(job, conflict)
    if current.queued_at != job.queued_at:
        raise JobNotFound(job.id) from conflict
    return current


def _log_change(job: Job, event: Event) -> None:
    """The only place that logs changes of state, so that each is logged once."""
    extra = {"action": "job_changed", "job_id": job.id, "event": type(event).__name__}
    numbers = {"status": job.status.value, "attempt": job.attempt, "version": job.version}
    # A claim is soon followed by the start, or by what prevented it, so its line would be paid for
    # without need. The job's history has it in any case.
    level = logging.DEBUG if isinstance(event, Claimed) else logging.INFO
    _log.log(level, "job changed", extra=extra | numbers | {"request_id": job.request_id})
