"""The fields that each event sets, beyond status, version, history and due time.

The table in `lifecycle.py` names these functions; only `advance` calls them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from comfyline.service.jobs import events as ev
from comfyline.service.jobs.artifact_keys import void_prefixes
from comfyline.service.jobs.decide import MAX_INTERRUPTIONS, MAX_UNHEALTHY_WORKERS, error_of
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.job import Job, Lease
from comfyline.service.jobs.progress import Progress

# The fields at the start of an attempt, and after the job was given back.
_NO_WORK: Mapping[str, Any] = {"progress": Progress(), "stored": 0, "previewed": 0}
_GIVEN_BACK: Mapping[str, Any] = {"lease": None, "attempt_started_at": None, **_NO_WORK}


def nothing(_job: Job, _event: ev.Event, _now: datetime) -> dict[str, Any]:
    """Change no field."""
    return {}


def claimed(job: Job, event: ev.Claimed, _now: datetime) -> dict[str, Any]:
    """Begin a new attempt, with nothing done yet.

    The claim proves that the job's tickets arrive. So `ticket_sends` starts again at 0: if the job
    has to wait once more, its next lost ticket is sent again after the shortest grace.
    """
    lease = Lease(event.worker_id, event.lease_expires_at)
    attempt = {"lease": lease, "attempt": job.attempt + 1}
    return {**attempt, **_NO_WORK, "cached": False, "nodes_cached": 0, "ticket_sends": 0}


def renewed(job: Job, event: ev.Renewed, _now: datetime) -> dict[str, Any]:
    """Move the end of the lease."""
    assert job.lease is not None  # `advance` refuses a worker's event without a lease
    return {"lease": replace(job.lease, expires_at=event.lease_expires_at)}


def started(job: Job, _event: ev.Started, now: datetime) -> dict[str, Any]:
    """Set the start of the attempt; the first start is also the job's."""
    return {"started_at": job.started_at or now, "attempt_started_at": now}


def progressed(job: Job, event: ev.Progressed, _now: datetime) -> dict[str, Any]:
    """Set the latest progress; the number of previews never falls within an attempt."""
    return {"progress": event.progress, "previewed": max(job.previewed, event.previewed)}


def stored(_job: Job, event: ev.Stored, _now: datetime) -> dict[str, Any]:
    """Set the number of the attempt's files that are listed."""
    return {"stored": event.count}


def gpu_used(job: Job, event: ev.AttemptEnded, _now: datetime) -> dict[str, Any]:
    """Add the attempt's GPU time to the job's, in the write that ends the attempt.

    That write succeeds at most once per attempt, and only if the attempt still holds the job. The
    sum is in whole milliseconds.
    """
    return {"gpu_seconds": round(job.gpu_seconds + event.gpu_seconds, 3)}


def succeeded(job: Job, event: ev.Succeeded, now: datetime) -> dict[str, Any]:
    """Complete the progress, and drop the error of an earlier attempt, which no longer matters."""
    nodes = job.progress.nodes_total
    changed = gpu_used(job, event, now)
    changed |= {"cached": event.cached, "nodes_cached": event.nodes_cached, "error": None}
    changed |= {"stored": job.stored if event.stored is None else event.stored}
    return changed | {"progress": Progress(fraction=1.0, nodes_done=nodes, nodes_total=nodes)}


def failed(job: Job, event: ev.Failed, now: datetime) -> dict[str, Any]:
    """Count one more failure, and free the job for another attempt."""
    return {**_GIVEN_BACK, **failed_for_good(job, event, now)}


def failed_for_good(job: Job, event: ev.Failed | ev.FailedForGood, now: datetime) -> dict[str, Any]:
    """Count one more failure, and keep its error."""
    error = replace(event.error, attempt=job.attempt)
    changed = gpu_used(job, event, now) | {"failures": job.failures + 1, "error": error}
    stored = event.stored if isinstance(event, ev.FailedForGood) else None
    return changed if stored is None else changed | {"stored": stored}


def faulted(job: Job, event: ev.Faulted, now: datetime) -> dict[str, Any]:
    """Count one more fault, and free the job for another attempt."""
    return {**_GIVEN_BACK, **faulted_for_good(job, event, now)}


def faulted_for_good(
    job: Job, event: ev.Faulted | ev.FaultedForGood, now: datetime
) -> dict[str, Any]:
    """Count one more fault, and keep its error."""
    error = replace(event.error, attempt=job.attempt)
    return gpu_used(job, event, now) | {"faults": job.faults + 1, "error": error}


def worker_unhealthy(job: Job, event: ev.WorkerUnhealthy, now: datetime) -> dict[str, Any]:
    """Count one more unhealthy worker, and free the job for another attempt."""
    error = replace(event.error, attempt=job.attempt)
    used = gpu_used(job, event, now)
    return {**_GIVEN_BACK, **used, "unhealthy_workers": job.unhealthy_workers + 1, "error": error}


def worker_unhealthy_for_good(
    job: Job, event: ev.WorkerUnhealthyForGood, now: datetime
) -> dict[str, Any]:
    """Count one unhealthy worker too many, and make that the job's error."""
    message = (
        f"{MAX_UNHEALTHY_WORKERS} workers in a row could not run the job because they are "
        f"unhealthy. Retry the job later. The last one reported: {event.error.message}"
    )
    error = replace(event.error, type="worker_unhealthy", message=message, attempt=job.attempt)
    used = gpu_used(job, event, now)
    return {**used, "unhealthy_workers": job.unhealthy_workers + 1, "error": error}


def interrupted(job: Job, event: ev.Interrupted, now: datetime) -> dict[str, Any]:
    """Count one more interruption, and free the job for another attempt."""
    used = gpu_used(job, event, now)
    return {**_GIVEN_BACK, **used, "interruptions": job.interruptions + 1}


def interrupted_for_good(job: Job, event: ev.InterruptedForGood, now: datetime) -> dict[str, Any]:
    """Count one interruption too many, and make it the job's error."""
    message = f"The job was interrupted {MAX_INTERRUPTIONS} times."
    error = error_of(job, "interrupted_too_often", message)
    used = gpu_used(job, event, now)
    return {**used, "interruptions": job.interruptions + 1, "error": error}


def lease_expired(job: Job, _event: ev.Event, _now: datetime) -> dict[str, Any]:
    """Count a failure, and free the job for another attempt."""
    lost = error_of(job, "worker_lost", "The worker was lost while it held this job.")
    return {**_GIVEN_BACK, "failures": job.failures + 1, "error": lost}


def lease_expired_for_good(
    job: Job, event: ev.LeaseExpiredForGood, _now: datetime
) -> dict[str, Any]:
    """Count the last failure, and keep its error."""
    return {"failures": job.failures + 1, "error": event.error}


def cancel_requested(job: Job, _event: ev.Event, now: datetime) -> dict[str, Any]:
    """Set the cancel flag; a second request does not change its time."""
    return {"cancel_requested_at": job.cancel_requested_at or now}


def watched(_job: Job, event: ev.Watched, _now: datetime) -> dict[str, Any]:
    """Set the time until which clients follow the job."""
    return {"watched_until": event.until}


def ticket_resent(job: Job, _event: ev.Event, _now: datetime) -> dict[str, Any]:
    """Count one more ticket; the sweeper then waits longer before the next."""
    return {"ticket_sends": job.ticket_sends + 1}


def tidied(_job: Job, _event: ev.Event, _now: datetime) -> dict[str, Any]:
    """Note that no void files are left."""
    return {"tidy_pending": False}


def settled(_job: Job, _event: ev.Event, _now: datetime) -> dict[str, Any]:
    """Note that nothing is left to settle."""
    return {"settle_pending": False}


def ended(job: Job, now: datetime) -> Job:
    """`job`, which has just become terminal, without its lease and with its removal time.

    Its void files are removed earlier, unless the whole job is removed before that. The
    settlement always comes before the removal.
    """
    expires_at = now + job.retention
    return replace(
        job,
        lease=None,
        finished_at=now,
        expires_at=expires_at,
        tidy_pending=bool(void_prefixes(job)) and now + TIDY_DELAY < expires_at,
        settle_pending=True,
    )
