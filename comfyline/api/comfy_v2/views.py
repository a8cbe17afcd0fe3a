"""Make the answers of Comfy API v2 from jobs and their records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from comfyline.api.v1.results import URL_LIFETIME, fitting, signed
from comfyline.contract.comfy_v2 import jobs as models
from comfyline.contract.comfy_v2.common import PREFIX
from comfyline.contract.limits import MAX_RESPONSE_BYTES
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.job import Job, JobError, JobRecord, Status
from comfyline.service.jobs.read import cursor_after
from comfyline.service.jobs.result import Artifact

# Comfy's API has no pages of outputs, so one answer has to hold them all. A Lambda function answers
# with at most 6 MB; signed URLs of AWS make an output some 2 KB long.
MAX_OUTPUTS, MAX_OUTPUTS_BYTES = 2_500, 4_500_000

# Comfy's names of kinds of files; every other kind is a `file`.
_TYPES: Mapping[str, models.OutputType] = {
    "image": "image",
    "animation": "image",
    "video": "video",
    "audio": "audio",
    "text": "text",
    "latent": "latent",
}
_ERROR_CODES = {"node_error": "node_execution_error"}


@dataclass(frozen=True, slots=True)
class Views:
    """Makes answers. `public_url` is the API's address, or empty if it is not known."""

    store: ArtifactStore
    now: datetime
    public_url: str = ""

    def job(
        self,
        record: JobRecord,
        artifacts: Sequence[Artifact] = (),
        queue_position: int | None = None,
    ) -> models.Job:
        """The whole job with these outputs, or with as many of the first as have room."""
        job = record.job
        return models.Job(
            **_state(record, queue_position),
            outputs=self.outputs(job, artifacts),
            urls=self._urls(job),
        )

    def outputs(self, job: Job, artifacts: Iterable[Artifact]) -> list[models.Output]:
        """The job's files; the first of them if not all have room."""
        views = (self._output(job, number, each) for number, each in enumerate(artifacts))
        return list(fitting(views, MAX_OUTPUTS_BYTES))

    def _output(self, job: Job, number: int, artifact: Artifact) -> models.Output:
        return models.Output(
            node_id=artifact.node,
            name=artifact.name,
            type=_TYPES.get(artifact.kind, "file"),
            content_type=artifact.content_type,
            size_bytes=artifact.bytes,
            id=output_id(job, number),
            hash=None,
            url=signed(artifact, self.store),
            url_expires_at=self.now + URL_LIFETIME,
            job_id=job.id,
        )

    def _urls(self, job: Job) -> models.Urls:
        # The clients build the paths themselves where a link is empty.
        if not self.public_url:
            return models.Urls(self="", events="", cancel="")
        base = f"{self.public_url}{PREFIX}/jobs/{job.id}"
        return models.Urls(self=base, events=f"{base}/events", cancel=f"{base}/cancel")


def output_id(job: Job, number: int) -> str:
    """The id of the job's file of that number, as an asset."""
    return f"{job.id}.{number}"


def job_list(records: Sequence[JobRecord], cursor: str | None) -> models.JobList:
    """One page of jobs. If not all have room, the cursor moves back."""
    jobs = list(fitting(map(_item, records), MAX_RESPONSE_BYTES - 1_000))
    if len(jobs) < len(records):
        cursor = cursor_after(records[len(jobs) - 1].job)
    return models.JobList(jobs=jobs, next_cursor=cursor)


def progress_view(job: Job) -> models.Progress | None:
    """How far the job is; None while it is queued."""
    if job.status is Status.QUEUED:
        return None
    made = job.progress
    return models.Progress(
        value=made.fraction,
        nodes_done=made.nodes_done,
        nodes_total=made.nodes_total,
        current_node=made.node,
        current_node_class=made.node_type,
        step=made.step,
        steps=made.steps,
        message=made.message,
    )


def _item(record: JobRecord) -> models.JobItem:
    job = record.job
    return models.JobItem(
        **_state(record, None), create_time=job.queued_at, update_time=job.changed_at
    )


def _state(record: JobRecord, queue_position: int | None) -> dict[str, Any]:
    job = record.job
    return {
        "id": job.id,
        "status": job.shown_status,
        "created_at": job.queued_at,
        "started_at": job.started_at,
        "completed_at": job.finished_at,
        "expires_at": job.expires_at or job.expires_at_the_latest,
        "queue_position": queue_position,
        "progress": progress_view(job),
        "error": _error(job.error) if job.status.is_terminal else None,
        "metrics": _metrics(job),
        "metadata": dict(record.params.metadata),
    }


def _error(error: JobError | None) -> models.JobError | None:
    if error is None:
        return None
    return models.JobError(
        code=_ERROR_CODES.get(error.type, error.type),
        message=error.message,
        node_id=error.node_id,
        class_type=error.node_type,
    )


def _metrics(job: Job) -> models.Metrics:
    started, ended = job.started_at, job.finished_at
    return models.Metrics(
        queue_ms=_milliseconds(job.queued_at, started),
        execution_ms=_milliseconds(started, ended) if started else None,
        gpu_ms=round(job.gpu_seconds * 1000) if ended else None,
    )


def _milliseconds(start: datetime, end: datetime | None) -> int | None:
    return None if end is None else max(0, round((end - start).total_seconds() * 1000))
