"""Read the artifacts of a job in pages."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePath

from comfyline.contract.ids import JobId, Principal
from comfyline.service.clock import Clock
from comfyline.service.errors import ArtifactNotFound
from comfyline.service.jobs.artifact_keys import thumbnail_key
from comfyline.service.jobs.job import Job, JobRecord
from comfyline.service.jobs.read import read_job, wrong_cursor
from comfyline.service.jobs.result import Artifact
from comfyline.service.jobs.store import JobStore


def numbers_of(cursor: str | None, limit: int) -> range:
    """The numbers of the page that the cursor begins; of the first page without a cursor.

    Raises:
        InvalidCursor: the cursor was not made by this API.
    """
    if not re.fullmatch(r"[0-9]{1,9}", cursor or "0"):
        raise wrong_cursor()
    first = int(cursor or "0")
    return range(first, first + limit)


def read_artifacts(
    job_id: JobId, caller: Principal, numbers: range, *, store: JobStore, clock: Clock
) -> tuple[JobRecord, tuple[Artifact, ...]]:
    """The caller's job, and those of its artifacts that have these numbers.

    There are none before the job has ended, because its attempt may still be lost.

    Raises:
        JobNotFound: see `read_job`.
    """
    record = read_job(job_id, caller, store=store, clock=clock)
    if not record.job.status.is_terminal:
        return JobRecord(record.job, record.params), ()
    return record, artifacts_of(record, numbers, store)


def read_artifact(
    job_id: JobId,
    caller: Principal,
    number: int,
    *,
    store: JobStore,
    clock: Clock,
    as_thumbnail: bool = False,
) -> Artifact:
    """One file of the caller's job; with `as_thumbnail` its thumbnail, if it has one.

    Raises:
        JobNotFound: see `read_job`.
        ArtifactNotFound: the job has no file of that number, or has not ended.
    """
    record, found = read_artifacts(
        job_id, caller, range(number, number + 1), store=store, clock=clock
    )
    if found and as_thumbnail and number in record.thumbnails:
        return thumbnail_of(record.job, number, found[0])
    if found:
        return found[0]
    if not record.job.status.is_terminal:
        raise ArtifactNotFound("The job has not ended. It has files once it has.")
    total = record.artifacts_total
    raise ArtifactNotFound(f"The job has no file {number}. It has {total}, numbered from 0.")


def thumbnail_of(job: Job, number: int, artifact: Artifact) -> Artifact:
    """The thumbnail in place of the artifact. Size and SHA-256 stay those of the artifact."""
    name = f"{PurePath(artifact.name).stem}.webp"
    key = thumbnail_key(job, number)
    return replace(artifact, key=key, name=name, content_type="image/webp")


def artifacts_of(record: JobRecord, numbers: range, store: JobStore) -> tuple[Artifact, ...]:
    """The artifacts with these numbers, from the record or else by a read."""
    if min(numbers.stop, record.artifacts_total) <= len(record.artifacts):
        return record.artifacts[numbers.start : numbers.stop]
    return store.artifacts(record.job, numbers)
