"""Rules that hold for every job at every moment, for tests of all tiers and for operators' audits.

Rule: nothing here decides how a job may change; `lifecycle.py` does. These rules repeat what must
follow from it in other words, so that an error in either is found. Each function yields the faults
that it finds, as texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, pairwise

from comfyline.contract.limits import (
    MAX_EXECUTION_TIMEOUT_SECONDS,
    MAX_START_DEADLINE_SECONDS,
)
from comfyline.service.jobs.artifact_keys import artifact_key
from comfyline.service.jobs.decide import (
    MAX_FAILURES,
    MAX_FAULTS,
    MAX_INTERRUPTIONS,
    MAX_UNHEALTHY_WORKERS,
)
from comfyline.service.jobs.due import LEASE_GRACE, MAX_TICKET_GRACE, SETTLE_DELAY, TIDY_DELAY
from comfyline.service.jobs.job import SCHEMA, Job, JobRecord, Status
from comfyline.service.jobs.lifecycle import EVENT_NAMES, MAX_HISTORY

# The counters of a job, and the value that ends it.
_LIMITS = {
    "failures": MAX_FAILURES,
    "faults": MAX_FAULTS,
    "unhealthy_workers": MAX_UNHEALTHY_WORKERS,
    "interruptions": MAX_INTERRUPTIONS,
}


# The clocks of two machines differ by less. Workers correct theirs by the `Date` of AWS's answers.
CLOCK_SKEW = timedelta(minutes=1)
# A worker stops a prompt at its timeout, and then has the lease for as long as it stores files.
STORING_GRACE = timedelta(hours=1)
LONGEST_START_DEADLINE = timedelta(seconds=MAX_START_DEADLINE_SECONDS)
LONGEST_EXECUTION = timedelta(seconds=MAX_EXECUTION_TIMEOUT_SECONDS)


def row_faults(job: Job) -> Iterator[str]:
    """Faults of a single row, in any state."""
    yield from _broken(
        (
            job.due_at is not None or (job.is_settled and not job.tidy_pending),
            "no due time: the sweeper would never look at it again",
        ),
        (job.lease is None or job.attempt > 0, "leased, but never claimed"),
        *(
            (getattr(job, name) <= limit, f"more {name} than are allowed")
            for name, limit in _LIMITS.items()
        ),
        (
            job.options.wants_previews or job.previewed == 0,
            "previews that the caller did not ask for",
        ),
    )
    yield from _history_faults(job)
    yield from _faults_of_ended(job) if job.status.is_terminal else _faults_of_live(job)


def _history_faults(job: Job) -> Iterator[str]:
    yield from _broken((1 <= len(job.history) <= MAX_HISTORY, "the history is empty or too long"))
    for earlier, later in pairwise(job.history):
        yield from _broken(
            (earlier.version < later.version, "two history entries of one version"),
            (earlier.attempt <= later.attempt, "the attempt falls within the history"),
            (not earlier.status.is_terminal, "a history entry after the end"),
        )
    for last in job.history[-1:]:
        is_recorded = (last.status, last.attempt) == (job.status, job.attempt)
        yield from _broken(
            (last.version <= job.version, "a history entry of a later version than the row"),
            (is_recorded, "a change of state that the history lacks"),
        )


def _faults_of_ended(job: Job) -> Iterator[str]:
    end = job.finished_at
    yield from _broken(
        (job.lease is None, "ended, but leased"),
        (end is not None, "ended, but without the time of its end"),
        (end is not None and job.expires_at == end + job.retention, "a wrong time of removal"),
        (_is_removed_in_time(job), "its files or its record would be removed too late"),
        ((job.status is Status.FAILED) <= (job.error is not None), "failed without an error"),
        ((job.status is Status.EXPIRED) <= (job.started_at is None), "expired after a start"),
    )


def _is_removed_in_time(job: Job) -> bool:
    end = job.finished_at
    if end is None or job.expires_at is None:
        return False
    if job.tidy_pending:
        return job.attempt > 0 and job.due_at == end + TIDY_DELAY
    # Before the settlement, the end keeps an earlier time, and each failed try of the sweeper moves
    # it on. After it, the store removes the row; rows of older code are left to the sweeper.
    return job.settle_pending or job.due_at in (None, job.expires_at)


def _faults_of_live(job: Job) -> Iterator[str]:
    is_running = job.status is Status.RUNNING
    yield from _broken(
        ((job.finished_at, job.expires_at) == (None, None), "has a TTL but has not ended"),
        *(
            (getattr(job, name) < limit, f"too many {name}, but not ended")
            for name, limit in _LIMITS.items()
        ),
        (is_running <= (job.lease is not None), "running without a lease"),
        (is_running <= (job.attempt_started_at is not None), "running without a start time"),
        (job.is_canceling <= (job.lease is not None), "canceling, but no worker holds it"),
    )


def faults_at(job: Job, now: datetime, *, lease: timedelta) -> Iterator[str]:
    """Faults of a row that was read at `now`: times that are out of order or out of bounds.

    `lease` is the length of a worker's lease.
    """
    soon = now + CLOCK_SKEW
    yield from _span_faults(job)
    yield from _broken(
        *((at <= soon, f"{name} is in the future") for name, at in _past_times(job).items()),
        *(
            (earlier <= later + CLOCK_SKEW, f"{one} is after {other}")
            for (one, earlier), (other, later) in pairwise(_past_times(job).items())
        ),
        (job.cancel_requested_at is None or job.cancel_requested_at <= soon, "a future cancel"),
        (
            job.cancel_requested_at is None
            or job.queued_at <= job.cancel_requested_at + CLOCK_SKEW,
            "a cancel before the post",
        ),
    )
    yield from _history_time_faults(job, soon)
    yield from _due_faults(job, soon)
    if job.lease is not None:
        yield from _lease_faults(job, now, soon + 2 * lease)


def _past_times(job: Job) -> dict[str, datetime]:
    """The times of the job that have passed, in their order."""
    times = {
        "queued_at": job.queued_at,
        "started_at": job.started_at,
        "attempt_started_at": job.attempt_started_at,
        "finished_at": job.finished_at,
    }
    return {name: at for name, at in times.items() if at is not None}


def _span_faults(job: Job) -> Iterator[str]:
    waits = job.start_deadline - job.queued_at
    used = timedelta(seconds=job.gpu_seconds)
    yield from _broken(
        (timedelta(0) < waits <= LONGEST_START_DEADLINE, "a start deadline out of bounds"),
        (
            timedelta(0) < job.execution_timeout <= LONGEST_EXECUTION,
            "an execution timeout out of bounds",
        ),
        (job.retention > timedelta(0), "no retention"),
        (timedelta(0) <= used, "negative GPU time"),
        (
            used <= job.attempt * (job.execution_timeout + STORING_GRACE),
            "more GPU time than its attempts could use",
        ),
        (0.0 <= job.progress.fraction <= 1.0, "progress out of bounds"),
        (
            min(job.attempt, job.stored, job.previewed, *(getattr(job, name) for name in _LIMITS))
            >= 0,
            "a negative count",
        ),
        (job.version >= 1, "a version below 1"),
    )


def _history_time_faults(job: Job, soon: datetime) -> Iterator[str]:
    for earlier, later in pairwise(job.history):
        yield from _broken(
            (earlier.at <= later.at + CLOCK_SKEW, "history entries that are out of order")
        )
    for entry in job.history:
        yield from _broken(
            (entry.at <= soon, "a history entry in the future"),
            (entry.at >= job.queued_at - CLOCK_SKEW, "a history entry before the post"),
            (entry.event in EVENT_NAMES or job.schema != SCHEMA, "an unknown event in its history"),
        )
    if len(job.history) < MAX_HISTORY:
        yield from _broken(
            (job.history[:1] == () or job.history[0].event == "submitted", "a history without post")
        )
    if job.finished_at is not None and job.history:
        yield from _broken((job.history[-1].at == job.finished_at, "an end unlike its history's"))


def _due_faults(job: Job, soon: datetime) -> Iterator[str]:
    due = job.due_at
    if due is None:
        return
    if job.status.is_terminal:
        yield from _broken(
            (
                due == job.expires_at or due <= soon + SETTLE_DELAY,
                "due too late for its settlement",
            )
        )
    elif job.lease is not None:
        yield from _broken(
            (due <= job.lease.expires_at + LEASE_GRACE, "due later than the end of its lease")
        )
    else:
        latest = soon + MAX_TICKET_GRACE
        if job.started_at is None:
            latest = min(latest, job.start_deadline)
        yield from _broken((due <= latest, "due later than its next ticket or its start deadline"))


def _lease_faults(job: Job, now: datetime, latest: datetime) -> Iterator[str]:
    assert job.lease is not None
    started, timeout = job.attempt_started_at, job.execution_timeout + STORING_GRACE
    yield from _broken(
        (job.lease.expires_at <= latest, "a lease that is longer than any worker's"),
        (started is None or started + timeout >= now, "runs beyond its execution timeout"),
    )


def change_faults(before: Job, after: Job) -> Iterator[str]:
    """Faults of two rows of one job. `after` was written later, maybe not by the next write."""
    rising = ("attempt", *_LIMITS, "gpu_seconds")
    set_once = ("started_at", "cancel_requested_at")
    yield from _broken(
        (not before.status.is_terminal or _is_as_it_ended(before, after), "changed after its end"),
        (before.version <= after.version, "the version has fallen"),
        *((getattr(before, n) <= getattr(after, n), f"{n} has fallen") for n in rising),
        *(
            (getattr(before, n) in (None, getattr(after, n)), f"{n} was set twice")
            for n in set_once
        ),
    )
    if before.version == after.version:
        yield from _changes_without_version(before, after)
    if before.attempt == after.attempt:
        yield from _faults_within_attempt(before, after)


def _is_as_it_ended(before: Job, after: Job) -> bool:
    # The notes about an ended job may change, but a step that is done stays done.
    return after == replace(
        before,
        due_at=after.due_at,
        tidy_pending=before.tidy_pending and after.tidy_pending,
        settle_pending=before.settle_pending and after.settle_pending,
    )


def _changes_without_version(before: Job, after: Job) -> Iterator[str]:
    names = ("status", "attempt", "progress", "history", "error", "cancel_requested_at")
    for name in names:
        is_same = getattr(before, name) == getattr(after, name)
        yield from _broken((is_same, f"{name} changed without a new version"))


def _faults_within_attempt(before: Job, after: Job) -> Iterator[str]:
    leases = [job.lease for job in (before, after) if job.lease is not None]
    yield from _broken(
        (before.ticket_sends <= after.ticket_sends, "ticket_sends has fallen without a claim"),
        (len({lease.worker_id for lease in leases}) <= 1, "two workers hold one attempt"),
    )


def record_faults(record: JobRecord) -> Iterator[str]:
    """Faults of the row, and artifacts that the reader must not be shown."""
    job = record.job
    prefix = artifact_key(job, 0, "").removesuffix("0_")
    may_show = job.lists_files or not record.artifacts
    are_of_attempt = all(artifact.key.startswith(prefix) for artifact in record.artifacts)
    yield from chain(
        row_faults(job),
        _broken(
            (may_show, "shows files of a job that must show none"),
            (are_of_attempt, "shows a file of another attempt"),
        ),
    )


def _broken(*rules: tuple[bool, str]) -> Iterator[str]:
    return (fault for holds, fault in rules if not holds)
