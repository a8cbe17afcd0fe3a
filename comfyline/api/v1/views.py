"""Make the responses of API v1 from jobs and their records.

A response takes the fields that it knows from a value with fields of the same names, and ignores
the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from comfyline.api.v1.results import fitting, result_view, thumbnail_link
from comfyline.contract.limits import MAX_RESPONSE_BYTES
from comfyline.contract.v1 import responses
from comfyline.contract.v1.common import API_PREFIX
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.job import Job, JobError, JobRecord
from comfyline.service.jobs.read import cursor_after

MAX_JOBS_BYTES = MAX_RESPONSE_BYTES - 1_000  # the rest is for the cursor


def accepted(job: Job) -> responses.JobAccepted:
    """The response to a submission."""
    return responses.JobAccepted(
        job_id=job.id,
        status=job.shown_status,
        queued_at=job.queued_at,
        location=f"{API_PREFIX}/jobs/{job.id}",
    )


def job_view(
    record: JobRecord,
    *,
    store: ArtifactStore,
    now: datetime,
    queue_position: int | None = None,
    has_result: bool = True,
) -> responses.JobView:
    """The whole job, or without its result; `store` signs the URLs of its files."""
    job, output = record.job, record.job.options.output
    return responses.JobView(
        job_id=job.id,
        status=job.shown_status,
        progress=job.progress.fraction,
        progress_detail=responses.ProgressDetail(**asdict(job.progress)),
        submitted_by=job.owner,
        user=job.user,
        params=dict(record.params.params),
        metadata=dict(record.params.metadata),
        priority=job.priority.value,
        output=responses.OutputView(**asdict(output)) if output else None,
        previews=job.options.wants_previews,
        strict=job.options.strict,
        result=result_view(record, store, now) if has_result else None,
        artifacts_total=record.files_total,
        thumbnail=thumbnail_link(record, store, now),
        error=error_view(job.error),
        timestamps=responses.Timestamps.model_validate(job, from_attributes=True),
        attempt=job.attempt,
        interruptions=job.interruptions,
        cached=job.cached,
        nodes_cached=job.nodes_cached,
        gpu_seconds=job.gpu_seconds,
        version=job.version,
        queue_position=queue_position,
        retry_of=record.params.retry_of,
    )


def job_page(
    records: Sequence[JobRecord], cursor: str | None, *, store: ArtifactStore, now: datetime
) -> responses.JobPage:
    """One page of jobs without their results. If not all have room, the cursor moves back."""
    views = (job_view(record, store=store, now=now, has_result=False) for record in records)
    jobs = list(fitting(views, MAX_JOBS_BYTES))
    if len(jobs) < len(records):
        cursor = cursor_after(records[len(jobs) - 1].job)
    return responses.JobPage(jobs=jobs, next_cursor=cursor)


def error_view(error: JobError | None) -> responses.ErrorView | None:
    """Why a job has failed; None if it has not."""
    return responses.ErrorView(**asdict(error)) if error else None
