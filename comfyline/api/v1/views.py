"""Make the responses of API v1 from jobs and their records.

A response takes the fields that it knows from a value with fields of the same names, and ignores
the others.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta

from comfyline.contract.v1 import common, responses
from comfyline.contract.v1.common import API_PREFIX
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.job import Job, JobError, JobRecord, Status
from comfyline.service.jobs.result import Artifact

# Long enough to download a large file, and so short that a URL in a log is soon useless. A client
# that gets 403 reads the job again.
URL_LIFETIME = timedelta(minutes=15)


def status_of(job: Job) -> common.Status:
    """The job's state; `canceling` until the worker of a canceled job has ended it."""
    return "canceling" if job.is_canceling else job.status.value


def accepted(job: Job) -> responses.JobAccepted:
    """The response to a submission."""
    return responses.JobAccepted(
        job_id=job.id,
        status=status_of(job),
        queued_at=job.queued_at,
        location=f"{API_PREFIX}/jobs/{job.id}",
    )


def job_view(
    record: JobRecord,
    *,
    store: ArtifactStore | None,
    now: datetime,
    queue_position: int | None = None,
) -> responses.JobView:
    """The whole job; `store` signs the URLs of its artifacts. Without a store it has no result."""
    job, output = record.job, record.job.options.output
    return responses.JobView(
        job_id=job.id,
        status=status_of(job),
        progress=job.progress.fraction,
        progress_detail=responses.ProgressDetail(**asdict(job.progress)),
        submitted_by=job.owner,
        params=dict(record.params.params),
        metadata=dict(record.params.metadata),
        priority=job.priority.value,
        output=responses.OutputView(**asdict(output)) if output else None,
        previews=job.options.wants_previews,
        result=result_view(record, store, now) if store else None,
        error=error_view(job.error),
        timestamps=responses.Timestamps.model_validate(job, from_attributes=True),
        attempt=job.attempt,
        interruptions=job.interruptions,
        cached=job.cached,
        gpu_seconds=job.gpu_seconds,
        version=job.version,
        queue_position=queue_position,
        retry_of=record.params.retry_of,
    )


def result_view(
    record: JobRecord, store: ArtifactStore, now: datetime
) -> responses.ResultView | None:
    """The artifacts of an ended job. A failed job keeps those from before its failure."""
    if not record.job.status.is_terminal:
        return None  # a running attempt may still lose its job, and its files with it
    if record.job.status is not Status.SUCCEEDED and not record.artifacts:
        return None
    return responses.ResultView(artifacts=_artifact_views(record, store, now))


def _artifact_views(
    record: JobRecord, store: ArtifactStore, now: datetime
) -> list[responses.ArtifactView]:
    return [
        responses.ArtifactView(
            url=signed(artifact, store),
            url_expires_at=now + URL_LIFETIME,
            seed=record.params.params.get("seed"),
            meta={"attempt": record.job.attempt},
            **asdict(artifact),
        )
        for artifact in record.artifacts
    ]


def signed(artifact: Artifact, store: ArtifactStore) -> str:
    """A URL that downloads the artifact within URL_LIFETIME."""
    return store.sign(artifact.key, name=artifact.name, seconds=int(URL_LIFETIME.total_seconds()))


def error_view(error: JobError | None) -> responses.ErrorView | None:
    """Why a job has failed; None if it has not."""
    return responses.ErrorView(**asdict(error)) if error else None
