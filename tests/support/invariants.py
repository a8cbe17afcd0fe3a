"""What is true of every job at every moment, as assertions.

A `Chronicle` remembers the rows it was shown and holds each against the one before, so that a test
of any tier can call `see` as often as it likes and in any place.
"""

from __future__ import annotations

from collections.abc import Iterable

from comfyline.contract.ids import JobId
from comfyline.service.jobs import invariants
from comfyline.service.jobs.job import Job, JobRecord, artifact_key, preview_key


def check_job(job: Job) -> None:
    """One row, whatever has happened to it."""
    assert list(invariants.row_faults(job)) == []


def check_change(before: Job, after: Job) -> None:
    """Two rows of one job, the second written after the first; other writes may lie between."""
    assert list(invariants.change_faults(before, after)) == []


def check_record(record: JobRecord) -> None:
    """What a reader is shown: only the winning attempt's files, and only of a job that won."""
    assert list(invariants.record_faults(record)) == []


def check_tidy(job: Job, keys: Iterable[str]) -> None:
    """Once the sweeper has tidied up, an ended job has files of its shown attempt alone."""
    assert not job.tidy_pending
    shown = artifact_key(job, 0, "").removesuffix("0_")
    left = [key for key in keys if key.startswith(job.artifact_prefix)]
    assert [key for key in left if not (job.lists_files and key.startswith(shown))] == []
    assert preview_key(job) not in left


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
