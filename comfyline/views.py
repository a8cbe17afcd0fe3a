"""How the domain is shown: jobs as the contract's views, changes as its messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from comfyline import wire
from comfyline.domain.job import (
    Artifact,
    Change,
    Job,
    JobError,
    JobRecord,
    Status,
    preview_key,
)
from comfyline.ports import ArtifactStore

# Long enough to fetch a large file, short enough to be worthless in a log; ask again on 403.
URL_LIFETIME = timedelta(minutes=15)
# Of `done`'s artifacts; leaves room for its error, whose text is at most some KB.
MAX_RESULT_BYTES = wire.MAX_MESSAGE_BYTES - 8 * 1024


def status_of(job: Job) -> wire.Status:
    """The job's state; `canceling` while a worker has yet to end it."""
    return "canceling" if job.is_canceling else job.status.value


def accepted(job: Job) -> wire.JobAccepted:
    """The answer to a submission."""
    return wire.JobAccepted(
        job_id=job.id,
        status=status_of(job),
        queued_at=job.queued_at,
        location=f"{wire.API_PREFIX}/jobs/{job.id}",
    )


def job_view(
    record: JobRecord,
    *,
    store: ArtifactStore | None,
    now: datetime,
    queue_position: int | None = None,
) -> wire.JobView:
    """The whole job, its artifacts behind freshly signed URLs; without a store, no result."""
    job = record.job
    return wire.JobView(
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
        error=_error_view(job.error),
        timestamps=_timestamps(job),
        attempt=job.attempt,
        interruptions=job.interruptions,
        cached=job.cached,
        gpu_seconds=job.gpu_seconds,
        version=job.version,
        queue_position=queue_position,
        retry_of=record.params.retry_of,
    )


def _output(job: Job) -> wire.OutputView | None:
    if job.output is None:
        return None
    return wire.OutputView(format=job.output.format.value, quality=job.output.quality)


def result_view(record: JobRecord, store: ArtifactStore, now: datetime) -> wire.ResultView | None:
    """What an ended job has made; of a failed one, what there was before the failure."""
    if not record.job.status.is_terminal:
        return None  # what a running attempt has made may yet be void
    if record.job.status is not Status.SUCCEEDED and not record.artifacts:
        return None
    return wire.ResultView(artifacts=_artifact_views(record, store, now))


def _artifact_views(
    record: JobRecord, store: ArtifactStore, now: datetime
) -> list[wire.ArtifactView]:
    return [
        wire.ArtifactView(
            url=_signed(a, store),
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


def _signed(artifact: Artifact, store: ArtifactStore) -> str:
    return store.sign(artifact.key, name=artifact.name, seconds=int(URL_LIFETIME.total_seconds()))


def event_list(job: Job, *, after: int) -> wire.EventList:
    """The job's changes of state beyond version `after`."""
    events = [
        wire.EventView(
            version=change.version,
            at=change.at,
            event=change.event,
            status=change.status.value,
            attempt=change.attempt,
        )
        for change in job.history
        if change.version > after
    ]
    return wire.EventList(job_id=job.id, events=events)


def _progress_detail(job: Job) -> wire.ProgressDetail:
    p = job.progress
    return wire.ProgressDetail(
        node=p.node,
        node_type=p.node_type,
        step=p.step,
        steps=p.steps,
        nodes_done=p.nodes_done,
        nodes_total=p.nodes_total,
        message=p.message,
    )


def _error_view(error: JobError | None) -> wire.ErrorView | None:
    if error is None:
        return None
    return wire.ErrorView(
        type=error.type,
        message=error.message,
        node_id=error.node_id,
        node_type=error.node_type,
        attempt=error.attempt,
    )


def _timestamps(job: Job) -> wire.Timestamps:
    return wire.Timestamps(
        queued_at=job.queued_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
    )


# --- messages -----------------------------------------------------------------------------------


def status_message(job: Job, *, snapshot: bool = False) -> wire.StatusMessage:
    """The state of the job: its last change, or the snapshot on subscribe."""
    last = job.history[-1] if job.history else None
    return wire.StatusMessage(
        job_id=job.id,
        version=job.version,
        status=status_of(job),
        progress=job.progress.fraction,
        attempt=job.attempt,
        reason=_REASONS.get(last.event) if last else None,
        snapshot=snapshot or None,
    )


def missed_messages(job: Job, after: int) -> list[wire.StatusMessage]:
    """The changes of state between version `after` and the job as it is, oldest first.

    As far as the row remembers them; the state of this version is for `status_message`.
    """
    return [_told(job, line) for line in job.history if after < line.version < job.version]


def _told(job: Job, line: Change) -> wire.StatusMessage:
    asked = job.cancel_requested_at
    canceling = asked is not None and line.at >= asked and not line.status.is_terminal
    # A state begins at 0, but for a cancel, which comes in the middle of an attempt.
    amid = line.event == "cancel_requested" and line.attempt == job.attempt
    return wire.StatusMessage(
        job_id=job.id,
        version=line.version,
        status="canceling" if canceling else line.status.value,
        progress=job.progress.fraction if amid else 0.0,
        attempt=line.attempt,
        reason=_REASONS.get(line.event),
    )


# Why a job waits again, or what has changed about one that goes on waiting.
_REASONS: Mapping[str, wire.Reason] = {
    "claimed": "claimed",
    "interrupted": "interrupted",
    "failed": "attempt_failed",
    "lease_expired": "worker_lost",
}


def progress_message(job: Job) -> wire.ProgressMessage:
    """How far the attempt is."""
    p = job.progress
    return wire.ProgressMessage(
        job_id=job.id,
        version=job.version,
        progress=p.fraction,
        message=p.message,
        node=p.node,
        node_type=p.node_type,
        step=p.step,
        steps=p.steps,
    )


def with_preview(
    message: wire.ProgressMessage, job: Job, store: ArtifactStore
) -> wire.ProgressMessage:
    """The same, with where the newest preview of the job's attempt is."""
    seconds = int(URL_LIFETIME.total_seconds())
    url = store.sign(preview_key(job), name="preview", seconds=seconds)
    return message.model_copy(update={"preview": url})


def artifact_messages(
    record: JobRecord, store: ArtifactStore, *, version: int, numbers: range
) -> list[wire.ArtifactMessage]:
    """The files of these numbers, told with the change to `version`.

    Part 0 is the change's own message, so a file's part is its number + 1.
    """
    return [
        wire.ArtifactMessage(
            job_id=record.job.id,
            version=version,
            part=number + 1,
            number=number,
            url=_signed(artifact, store),
            name=artifact.name,
            kind=artifact.kind,
            node=artifact.node,
            attempt=record.job.attempt,
        )
        for number, artifact in enumerate(record.artifacts)
        if number in numbers
    ]


def ending_messages(
    record: JobRecord, store: ArtifactStore, now: datetime, *, told: int = 0
) -> list[wire.JobMessage]:
    """What an ended job says: each artifact but the first `told`, then `done`."""
    job, count = record.job, len(record.artifacts)
    files = artifact_messages(record, store, version=job.version, numbers=range(told, count))
    return [*files, _done_message(job, result_view(record, store, now), part=count + 1)]


def _done_message(job: Job, files: wire.ResultView | None, *, part: int) -> wire.DoneMessage:
    return wire.DoneMessage.model_validate(
        {
            "job_id": job.id,
            "version": job.version,
            "part": part,
            "status": job.status.value,
            "result": _short(files) if files else None,
            "error": _error_view(job.error),
        }
    )


def _short(files: wire.ResultView) -> wire.ResultView:
    shown = files.artifacts[: wire.MAX_ARTIFACTS_IN_MESSAGE]
    while shown and sum(len(a.model_dump_json().encode()) for a in shown) > MAX_RESULT_BYTES:
        shown = shown[:-1]  # names and signed URLs have no length that we could promise
    return wire.ResultView(artifacts=shown, truncated=len(shown) < len(files.artifacts))
