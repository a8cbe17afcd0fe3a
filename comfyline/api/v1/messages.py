"""Make the WebSocket's messages from jobs and their changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from comfyline.api.v1.views import URL_LIFETIME, error_view, result_view, signed, status_of
from comfyline.contract.limits import MAX_ARTIFACTS_IN_MESSAGE, MAX_MESSAGE_BYTES
from comfyline.contract.v1 import responses
from comfyline.contract.v1.socket import (
    ArtifactMessage,
    DoneMessage,
    JobMessage,
    ProgressMessage,
    Reason,
    StatusMessage,
)
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.job import (
    HistoryEntry,
    Job,
    JobRecord,
    preview_key,
)

# Of `done`'s artifacts; leaves room for its error, whose text is at most some KB.
MAX_RESULT_BYTES = MAX_MESSAGE_BYTES - 8 * 1024


def status_message(job: Job, *, snapshot: bool = False) -> StatusMessage:
    """The state of the job: its last change, or the snapshot on subscribe."""
    last = job.history[-1] if job.history else None
    return StatusMessage(
        job_id=job.id,
        version=job.version,
        status=status_of(job),
        progress=job.progress.fraction,
        attempt=job.attempt,
        reason=_REASONS.get(last.event) if last else None,
        snapshot=snapshot or None,
    )


def missed_messages(job: Job, after: int) -> list[StatusMessage]:
    """The changes of state between version `after` and the job as it is, oldest first.

    As far as the row remembers them; the state of this version is for `status_message`.
    """
    return [_told(job, line) for line in job.history if after < line.version < job.version]


def _told(job: Job, line: HistoryEntry) -> StatusMessage:
    asked = job.cancel_requested_at
    canceling = asked is not None and line.at >= asked and not line.status.is_terminal
    # A state begins at 0, but for a cancel, which comes in the middle of an attempt.
    amid = line.event == "cancel_requested" and line.attempt == job.attempt
    return StatusMessage(
        job_id=job.id,
        version=line.version,
        status="canceling" if canceling else line.status.value,
        progress=job.progress.fraction if amid else 0.0,
        attempt=line.attempt,
        reason=_REASONS.get(line.event),
    )


# Why a job waits again, or what has changed about one that goes on waiting.
_REASONS: Mapping[str, Reason] = {
    "claimed": "claimed",
    "interrupted": "interrupted",
    "failed": "attempt_failed",
    "lease_expired": "worker_lost",
}


def progress_message(job: Job) -> ProgressMessage:
    """How far the attempt is."""
    p = job.progress
    return ProgressMessage(
        job_id=job.id,
        version=job.version,
        progress=p.fraction,
        message=p.message,
        node=p.node,
        node_type=p.node_type,
        step=p.step,
        steps=p.steps,
    )


def with_preview(message: ProgressMessage, job: Job, store: ArtifactStore) -> ProgressMessage:
    """The same, with where the newest preview of the job's attempt is."""
    seconds = int(URL_LIFETIME.total_seconds())
    url = store.sign(preview_key(job), name="preview", seconds=seconds)
    return message.model_copy(update={"preview": url})


def artifact_messages(
    record: JobRecord, store: ArtifactStore, *, version: int, numbers: range
) -> list[ArtifactMessage]:
    """The files of these numbers, told with the change to `version`.

    Part 0 is the change's own message, so a file's part is its number + 1.
    """
    return [
        ArtifactMessage(
            job_id=record.job.id,
            version=version,
            part=number + 1,
            number=number,
            url=signed(artifact, store),
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
) -> list[JobMessage]:
    """What an ended job says: each artifact but the first `told`, then `done`."""
    job, count = record.job, len(record.artifacts)
    files = artifact_messages(record, store, version=job.version, numbers=range(told, count))
    return [*files, _done_message(job, result_view(record, store, now), part=count + 1)]


def _done_message(job: Job, files: responses.ResultView | None, *, part: int) -> DoneMessage:
    return DoneMessage.model_validate(
        {
            "job_id": job.id,
            "version": job.version,
            "part": part,
            "status": job.status.value,
            "result": _short(files) if files else None,
            "error": error_view(job.error),
        }
    )


def _short(files: responses.ResultView) -> responses.ResultView:
    shown = files.artifacts[:MAX_ARTIFACTS_IN_MESSAGE]
    while shown and sum(len(a.model_dump_json().encode()) for a in shown) > MAX_RESULT_BYTES:
        shown = shown[:-1]  # names and signed URLs have no length that we could promise
    return responses.ResultView(artifacts=shown, truncated=len(shown) < len(files.artifacts))
