"""Cancel a job, or purge one that has ended, for its owner."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from comfyline.contract.ids import JobId, Principal
from comfyline.service.clock import Clock
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.change import change
from comfyline.service.jobs.decide import on_cancel
from comfyline.service.jobs.events import Event
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.read import expire_if_overdue, owned
from comfyline.service.jobs.settle import FreeSlot, Settle, free_slot_early, no_slots
from comfyline.service.jobs.store import Conflict, JobStore


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The job after the request, and a sentence for the caller about the outcome."""

    job: Job
    message: str


def cancel(
    job_id: JobId,
    caller: Principal,
    *,
    store: JobStore,
    clock: Clock,
    free_slot: FreeSlot = no_slots,
) -> Cancellation:
    """Cancel the job at once if no worker holds it, else set the flag that its worker obeys.

    A job that has ended does not change. Repeating the request changes nothing.

    Raises:
        JobNotFound: the job does not exist, is past its retention, or is not visible to the caller.
    """
    job = _owned(job_id, caller, store, clock)
    if job.status.is_terminal:
        return Cancellation(job, f"The job had already ended: {job.status}.")

    def cancel_if_not_requested(current: Job) -> Event | None:
        if current.status.is_terminal or current.is_canceling:
            return None
        return on_cancel(current, clock())

    job = change(store, clock, job, cancel_if_not_requested)
    if not job.status.is_terminal:
        return Cancellation(job, _MESSAGES["held"])
    free_slot_early(job, free_slot)
    return Cancellation(job, _MESSAGES[job.status.value])


def purge(
    job_id: JobId,
    caller: Principal,
    *,
    store: JobStore,
    artifacts: ArtifactStore,
    settle: Settle,
    clock: Clock,
    free_slot: FreeSlot = no_slots,
) -> Cancellation:
    """Remove an ended job's record, input and artifacts now. Any other job is canceled instead.

    Raises:
        JobNotFound: the job does not exist, is past its retention, or is not visible to the caller.
        Unavailable: the job could not be settled, so it was not removed.
    """
    job = _owned(job_id, caller, store, clock)
    if not job.status.is_terminal:
        canceled = cancel(job_id, caller, store=store, clock=clock, free_slot=free_slot)
        return Cancellation(canceled.job, f"{canceled.message} Purge it once it has ended.")
    if job.settle_pending:  # it has ended within the last seconds
        job = settle(job)
    # The files go first. After a crash in between, the record is still there to be purged again.
    artifacts.delete_prefix(job.artifact_prefix)
    with suppress(Conflict):  # its retention has ended meanwhile and a new job has its id
        store.delete(job)
    return Cancellation(job, "The job, its input and its artifacts were removed.")


def _owned(job_id: JobId, caller: Principal, store: JobStore, clock: Clock) -> Job:
    now = clock()
    return expire_if_overdue(now, store, owned(store.get(job_id), job_id, caller, now))


_MESSAGES = {
    "held": "A worker holds the job and will end it.",
    "canceled": "The job was canceled before it ran.",
    "succeeded": "The job succeeded before it could be canceled.",
    "failed": "The job failed before it could be canceled.",
    "expired": "The job expired before it could be canceled.",
}
