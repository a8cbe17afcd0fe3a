"""Make the responses of API v1 from jobs and their records."""

from __future__ import annotations

from datetime import datetime, timedelta

from comfyline.contract.v1 import common, responses
from comfyline.contract.v1.common import API_PREFIX
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.job import (
    Artifact,
    Job,
    JobError,
    JobRecord,
    Status,
)

# Long enough to fetch a large file, short enough to be worthless in a log; ask again on 403.
URL_LIFETIME = timedelta(minutes=15)


def status_of(job: Job) -> common.Status:
    """The job's state; `canceling` while a worker has yet to end it."""
    return "canceling" if job.is_canceling else job.status.value


def accepted(job: Job) -> responses.JobAccepted:
    """The answer to a submission."""
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
    """The whole job, its artifacts behind freshly signed URLs; without a store, no result."""
    job = record.job
    return responses.JobView(
        job_id=job.id,
        status=status_of(job),
        progress=job.progress.fraction,
        progress_detail=_progress_detail(job),
        submitted_by=job.owner,
        params=dict(record.params.params),
        metadata=dict(record.params.metadata),
        priority=job.priority.value,
        output=_output(job),
        previews=job.wants_previews,
        result=result_view(record, store, now) if store else None,
        error=error_view(job.error),
        timestamps=_timestamps(job),
        attempt=job.attempt,
        interruptions=job.interruptions,
        cached=job.cached,
        gpu_seconds=job.gpu_seconds,
        version=job.version,
        queue_position=queue_position,
        retry_of=record.params.retry_of,
    )


def _output(job: Job) -> responses.OutputView | None:
    if job.output is None:
        return None
    return responses.OutputView(format=job.output.format.value, quality=job.output.quality)


def result_view(
    record: JobRecord, store: ArtifactStore, now: datetime
) -> responses.ResultView | None:
    """What an ended job has made; of a failed one, what there was before the failure."""
    if not record.job.status.is_terminal:
        return None  # what a running attempt has made may yet be void
    if record.job.status is not Status.SUCCEEDED and not record.artifacts:
        return None
    return responses.ResultView(artifacts=_artifact_views(record, store, now))


def _artifact_views(
    record: JobRecord, store: ArtifactStore, now: datetime
) -> list[responses.ArtifactView]:
    return [
        responses.ArtifactView(
            url=signed(a, store),
            url_expires_at=now + URL_LIFETIME,
            name=a.name,
            kind=a.kind,
            content_type=a.content_type,
            bytes=a.bytes,
            sha256=a.sha256,
            node=a.node,
            seed=record.params.params.get("seed"),
            meta={"attempt": record.job.attempt},
        )
        for a in record.artifacts
    ]


def signed(artifact: Artifact, store: ArtifactStore) -> str:
    return store.sign(artifact.key, name=artifact.name, seconds=int(URL_LIFETIME.total_seconds()))


def _progress_detail(job: Job) -> responses.ProgressDetail:
    p = job.progress
    return responses.ProgressDetail(
        node=p.node,
        node_type=p.node_type,
        step=p.step,
        steps=p.steps,
        nodes_done=p.nodes_done,
        nodes_total=p.nodes_total,
        message=p.message,
    )


def error_view(error: JobError | None) -> responses.ErrorView | None:
    if error is None:
        return None
    return responses.ErrorView(
        type=error.type,
        message=error.message,
        node_id=error.node_id,
        node_type=error.node_type,
        attempt=error.attempt,
    )


def _timestamps(job: Job) -> responses.Timestamps:
    return responses.Timestamps(
        queued_at=job.queued_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
    )
