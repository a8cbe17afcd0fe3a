"""What is true of every job at every moment, stated once.

`check_job` looks at one row, `check_change` at a row before and after a write, `check_record` at
what a reader is shown. A `Chronicle` remembers the rows it was shown and holds each against the
one before, so that a test of any tier can call `see` as often as it likes and in any place.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from comfyline.domain.ids import JobId
from comfyline.domain.job import HAS_ARTIFACTS, Job, JobRecord, Status
from comfyline.domain.lifecycle import MAX_FAILURES, MAX_HISTORY, MAX_INTERRUPTIONS


def check_job(job: Job) -> None:
    """One row, whatever has happened to it."""
    assert job.due_at is not None, "nobody would ever look at it again"
    assert job.lease is None or job.attempt > 0, "a lease without a claim"
    assert job.failures <= MAX_FAILURES
    assert job.interruptions <= MAX_INTERRUPTIONS
    _check_history(job)
    if job.status.is_terminal:
        _check_ended(job)
    else:
        _check_live(job)


def _check_history(job: Job) -> None:
    assert 1 <= len(job.history) <= MAX_HISTORY
    for earlier, later in pairwise(job.history):
        assert earlier.version < later.version, "two lines of one version"
        assert earlier.attempt <= later.attempt
        assert not earlier.status.is_terminal, "a change after the end"
    last = job.history[-1]
    assert last.version <= job.version
    assert (last.status, last.attempt) == (job.status, job.attempt), "an unrecorded change of state"


def _check_ended(job: Job) -> None:
    assert job.lease is None, "an ended job is leased"
    assert job.finished_at is not None
    assert job.expires_at == job.finished_at + job.retention
    assert job.due_at == job.expires_at, "nobody would remove it in time"
    assert (job.status is Status.FAILED) <= (job.error is not None), "failed without a reason"
    assert (job.status is Status.EXPIRED) <= (job.started_at is None), "expired after a start"


def _check_live(job: Job) -> None:
    assert (job.finished_at, job.expires_at) == (None, None), "a waiting job has a TTL"
    assert job.failures < MAX_FAILURES
    assert job.interruptions < MAX_INTERRUPTIONS
    running = job.status is Status.RUNNING
    assert running <= (job.lease is not None), "running in nobody's hands"
    assert running <= (job.attempt_started_at is not None), "running without a deadline"
    assert job.is_canceling <= (job.lease is not None), "a cancel that nobody would carry out"


def check_change(before: Job, after: Job) -> None:
    """Two rows of one job, the second written after the first; other writes may lie between."""
    if before.status.is_terminal:
        assert after == before, "an ended job has changed"
    assert before.version <= after.version, "the version fell"
    if before.version == after.version:
        _check_invisible(before, after)
    for name in ("attempt", "failures", "interruptions", "gpu_seconds"):
        assert getattr(before, name) <= getattr(after, name), f"{name} fell"
    for name in ("started_at", "cancel_requested_at"):
        earlier = getattr(before, name)
        assert earlier in (None, getattr(after, name)), f"{name} was rewritten"
    if before.attempt == after.attempt:
        assert before.ticket_sends <= after.ticket_sends, "ticket_sends fell without a claim"
    if before.attempt == after.attempt and before.lease and after.lease:
        assert before.lease.worker_id == after.lease.worker_id, "two workers in one attempt"


def _check_invisible(before: Job, after: Job) -> None:
    for name in ("status", "attempt", "progress", "history", "error", "cancel_requested_at"):
        assert getattr(before, name) == getattr(after, name), f"{name} changed unseen"


def check_record(record: JobRecord) -> None:
    """What a reader is shown: only the winning attempt's files, and only of a job that won."""
    check_job(record.job)
    assert record.job.status in HAS_ARTIFACTS or not record.artifacts
    prefix = f"jobs/{record.job.attempt_path}/"
    for artifact in record.artifacts:
        assert artifact.key.startswith(prefix), "a file of an attempt that lost"


def check_ticketed(job: Job, ticketed: Iterable[JobId]) -> None:
    """Somebody will come by: once the sweeper was there, a job that nobody holds has a ticket."""
    assert job.status.is_terminal or job.lease is not None or job.id in set(ticketed)


class Chronicle:
    """The last row seen of each job, one record of a reused id after the other."""

    def __init__(self) -> None:
        self._seen: dict[JobId, Job] = {}

    def see(self, job: Job) -> Job:
        """Check the row, alone and against the one seen before; the row."""
        check_job(job)
        before = self._seen.get(job.id)
        if before is not None and before.queued_at == job.queued_at:
            check_change(before, job)
        elif before is not None:
            assert before.version < job.version, "an old ticket's worker would be let in"
            assert before.attempt <= job.attempt, "an old worker would be let in"
        self._seen[job.id] = job
        return job
