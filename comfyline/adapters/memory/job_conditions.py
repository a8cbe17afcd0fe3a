"""The conditions of writes of jobs in memory, as `adapters/aws/jobs/expressions.py` has them."""

from __future__ import annotations

from typing import Any

from comfyline.service.jobs.job import Job


def _is_same_version(current: Job, known: Job) -> bool:
    """The same version of the same job; another job of its id has another `queued_at`."""
    return (current.version, current.queued_at) == (known.version, known.queued_at)


def may_be_removed(current: Job, job: Job) -> bool:
    """Whether the job that a writer has read may be removed, or replaced by a new post."""
    return _is_same_version(current, job) and not current.settle_pending


def _version(job: Job) -> tuple[object, ...]:
    return job.queued_at, job.version, job.attempt, job.status


def guard(job: Job) -> tuple[object, ...]:
    """What must not have changed since a writer has read the job."""
    notes = (job.due_at, job.settle_pending) if job.status.is_terminal else ()
    return (*_version(job), *notes)


def is_saved(current: Job, after: Job, changes: dict[str, Any]) -> bool:
    """Whether the change was saved before.

    A heartbeat may have moved the end of the lease since. After the write that ends the job,
    settle_jobs and the sweeper may have noted the steps that they have done for it.
    """
    ignored = {"lease"}
    if "status" in changes and current.status.is_terminal:
        ignored |= {"due_at", "tidy_pending", "settle_pending"}
    same = all(getattr(current, name) == changes[name] for name in changes.keys() - ignored)
    same_version = _version(current) == _version(after)
    return same and same_version and _holder(current) == _holder(after)


def _holder(job: Job) -> str | None:
    return job.lease.worker_id if job.lease else None
