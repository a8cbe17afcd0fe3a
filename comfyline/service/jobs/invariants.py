"""What is true of every job at every moment, stated once: for the tests of every tier, and for an
operator's audit of a deployment.

Rule: nothing here decides how a job may change; `lifecycle.py` does. This is a second way of saying
what must come of it, so that a fault in either shows. Each function yields what is broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, pairwise

from comfyline.service.jobs.decide import MAX_FAILURES, MAX_INTERRUPTIONS
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.job import Job, JobRecord, Status, artifact_key
from comfyline.service.jobs.lifecycle import MAX_HISTORY


def row_faults(job: Job) -> Iterator[str]:
    """One row, whatever has happened to it."""
    yield from _broken(
        (job.due_at is not None, "nobody would ever look at it again"),
        (job.lease is None or job.attempt > 0, "a lease without a claim"),
        (job.failures <= MAX_FAILURES, "more failures than are allowed"),
        (job.interruptions <= MAX_INTERRUPTIONS, "more interruptions than are allowed"),
        (job.wants_previews or job.previewed == 0, "previews that nobody has asked for"),
    )
    yield from _history_faults(job)
    yield from _faults_of_ended(job) if job.status.is_terminal else _faults_of_live(job)


def _history_faults(job: Job) -> Iterator[str]:
    yield from _broken((1 <= len(job.history) <= MAX_HISTORY, "no history, or too long a one"))
    for earlier, later in pairwise(job.history):
        yield from _broken(
            (earlier.version < later.version, "two lines of one version"),
            (earlier.attempt <= later.attempt, "a line of an earlier attempt after a later one's"),
            (not earlier.status.is_terminal, "a change after the end"),
        )
    for last in job.history[-1:]:
        is_recorded = (last.status, last.attempt) == (job.status, job.attempt)
        yield from _broken(
            (last.version <= job.version, "a history of what has not happened"),
            (is_recorded, "an unrecorded change of state"),
        )


def _faults_of_ended(job: Job) -> Iterator[str]:
    end = job.finished_at
    yield from _broken(
        (job.lease is None, "an ended job is leased"),
        (end is not None, "ended at no time"),
        (end is not None and job.expires_at == end + job.retention, "kept for another time"),
        (_is_removed_in_time(job), "its files or its record would be removed too late"),
        ((job.status is Status.FAILED) <= (job.error is not None), "failed without a reason"),
        ((job.status is Status.EXPIRED) <= (job.started_at is None), "expired after a start"),
    )


def _is_removed_in_time(job: Job) -> bool:
    end = job.finished_at
    if job.tidy_pending:
        return job.attempt > 0 and end is not None and job.due_at == end + TIDY_DELAY
    return job.due_at == job.expires_at


def _faults_of_live(job: Job) -> Iterator[str]:
    is_running = job.status is Status.RUNNING
    yield from _broken(
        ((job.finished_at, job.expires_at) == (None, None), "a waiting job has a TTL"),
        (job.failures < MAX_FAILURES, "failed too often and still alive"),
        (job.interruptions < MAX_INTERRUPTIONS, "interrupted too often and still alive"),
        (is_running <= (job.lease is not None), "running in nobody's hands"),
        (is_running <= (job.attempt_started_at is not None), "running without a deadline"),
        (job.is_canceling <= (job.lease is not None), "a cancel that nobody would carry out"),
    )


def change_faults(before: Job, after: Job) -> Iterator[str]:
    """Two rows of one job, the second written after the first; other writes may lie between."""
    grow = ("attempt", "failures", "interruptions", "gpu_seconds")
    stay = ("started_at", "cancel_requested_at")
    yield from _broken(
        (
            not before.status.is_terminal or _is_as_it_ended(before, after),
            "an ended job has changed",
        ),
        (before.version <= after.version, "the version fell"),
        *((getattr(before, n) <= getattr(after, n), f"{n} fell") for n in grow),
        *((getattr(before, n) in (None, getattr(after, n)), f"{n} was rewritten") for n in stay),
    )
    if before.version == after.version:
        yield from _unseen_changes(before, after)
    if before.attempt == after.attempt:
        yield from _faults_within_attempt(before, after)


def _is_as_it_ended(before: Job, after: Job) -> bool:
    return after in (before, replace(before, due_at=before.expires_at, tidy_pending=False))


def _unseen_changes(before: Job, after: Job) -> Iterator[str]:
    names = ("status", "attempt", "progress", "history", "error", "cancel_requested_at")
    same = ((getattr(before, n) == getattr(after, n), f"{n} changed unseen") for n in names)
    yield from _broken(*same)


def _faults_within_attempt(before: Job, after: Job) -> Iterator[str]:
    leases = [job.lease for job in (before, after) if job.lease is not None]
    yield from _broken(
        (before.ticket_sends <= after.ticket_sends, "ticket_sends fell without a claim"),
        (len({lease.worker_id for lease in leases}) <= 1, "two workers in one attempt"),
    )


def record_faults(record: JobRecord) -> Iterator[str]:
    """What a reader is shown: the last attempt's files alone, and only of a job that has any."""
    job = record.job
    prefix = artifact_key(job, 0, "").removesuffix("0_")
    shows_any = job.lists_files or not record.artifacts
    are_ours = all(artifact.key.startswith(prefix) for artifact in record.artifacts)
    yield from chain(
        row_faults(job),
        _broken(
            (shows_any, "files of a job that made none"),
            (are_ours, "a file of an attempt that lost"),
        ),
    )


def _broken(*rules: tuple[bool, str]) -> Iterator[str]:
    return (fault for holds, fault in rules if not holds)
