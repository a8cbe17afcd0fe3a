"""The rules of comfyline/service/jobs/invariants.py as assertions.

A `Chronicle` remembers the rows that a test has shown it and compares each with the one before it.
A test of any tier can call `see` at any point and as often as it likes.
"""

from __future__ import annotations

from collections.abc import Iterable

from comfyline.contract.ids import JobId
from comfyline.service.jobs import invariants
from comfyline.service.jobs.artifact_keys import artifact_key, preview_key
from comfyline.service.jobs.job import Job, JobRecord


def check_job(job: Job) -> None:
    """Check a single row, in any state."""
    assert list(invariants.row_faults(job)) == []


def check_change(before: Job, after: Job) -> None:
    """Check two rows of one job. `after` was written later, maybe not by the next write."""
    assert list(invariants.change_faults(before, after)) == []


def check_record(record: JobRecord) -> None:
    """Check what a reader is shown: the row, and only the files that it must be shown."""
    assert list(invariants.record_faults(record)) == []


def check_tidy(job: Job, keys: Iterable[str]) -> None:
    """Check that an ended job that was tidied has only the files of the attempt that is shown."""
    assert not job.tidy_pending
    shown = artifact_key(job, 0, "").removesuffix("0_")
    stored = [key for key in keys if key.startswith(job.artifact_prefix)]
    assert [key for key in stored if not (job.lists_files and key.startswith(shown))] == []
    assert preview_key(job) not in stored


def check_ticketed(job: Job, ticketed: Iterable[JobId]) -> None:
    """Check that a job waits for a worker: after a sweep, a job without a lease has a ticket."""
    assert job.status.is_terminal or job.lease is not None or job.id in set(ticketed)


class Chronicle:
    """The last row seen of each job id. A later job of the same id follows the earlier one."""

    def __init__(self) -> None:
        self._seen: dict[JobId, Job] = {}

    def see(self, job: Job) -> Job:
        """Check the row alone and against the row seen before; returns the row."""
        check_job(job)
        before = self._seen.get(job.id)
        if before is not None and before.queued_at == job.queued_at:
            check_change(before, job)
        elif before is not None:
            assert before.version < job.version, (
                "a worker with an old ticket would not be fenced off"
            )
            assert before.attempt <= job.attempt, (
                "a worker of an old attempt would not be fenced off"
            )
        self._seen[job.id] = job
        return job
