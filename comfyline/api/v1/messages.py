"""Make the WebSocket messages of API v1 from the values of service/live/messages.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from pydantic import BaseModel

from comfyline.api.v1.results import URL_LIFETIME, result_view, signed
from comfyline.api.v1.views import error_view
from comfyline.contract.limits import MAX_ARTIFACTS_IN_MESSAGE, MAX_MESSAGE_BYTES
from comfyline.contract.v1.results import ResultView
from comfyline.contract.v1.socket import (
    ArtifactMessage,
    DoneMessage,
    ErrorMessage,
    JobMessage,
    ProgressMessage,
    Reason,
    StatusMessage,
)
from comfyline.service.clock import Clock
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.live.messages import (
    ClosingNotice,
    FileStored,
    JobEnded,
    Message,
    ProgressMade,
    StateChanged,
)

# The events of a job's history that clients see as the reason of a state.
_REASONS: Mapping[str, Reason] = {
    "claimed": "claimed",
    "interrupted": "interrupted",
    "failed": "attempt_failed",
    "faulted": "attempt_failed",
    "worker_unhealthy": "worker_unhealthy",
    "lease_expired": "worker_lost",
}


@dataclass(frozen=True, slots=True)
class MessageEncoder:
    """Makes the bytes of a job's messages. URLs of files are signed at that moment."""

    artifacts: ArtifactStore
    clock: Clock

    def __call__(self, message: Message) -> bytes:
        """The message as JSON of at most MAX_MESSAGE_BYTES."""
        return encoded(self.job_message(message))

    def job_message(self, message: Message) -> JobMessage:
        """The message as its model."""
        match message:
            case StateChanged():
                return status_message(message)
            case ProgressMade():
                return self._progress_message(message)
            case FileStored():
                return self._artifact_message(message)
            case JobEnded():
                return self._done_message(message)

    def _progress_message(self, message: ProgressMade) -> ProgressMessage:
        preview = None
        if message.preview is not None:
            seconds = int(URL_LIFETIME.total_seconds())
            preview = self.artifacts.sign(message.preview, name="preview", seconds=seconds)
        return ProgressMessage(
            job_id=message.job_id,
            version=message.version,
            part=message.part,
            progress=message.progress.fraction,
            preview=preview,
            **asdict(message.progress),
        )

    def _artifact_message(self, message: FileStored) -> ArtifactMessage:
        artifact = message.artifact
        return ArtifactMessage(
            job_id=message.job_id,
            version=message.version,
            part=message.part,
            number=message.number,
            url=signed(artifact, self.artifacts),
            name=artifact.name,
            kind=artifact.kind,
            node=artifact.node,
            attempt=message.attempt,
        )

    def _done_message(self, message: JobEnded) -> DoneMessage:
        """The end of the job, with as much of its result as fits into one message."""
        now, most = self.clock(), MAX_ARTIFACTS_IN_MESSAGE
        result = result_view(message.record, self.artifacts, now, most=most)
        for shorter in _ever_shorter(result) if result else ():
            done = _done(message, shorter)
            if len(encoded(done)) <= MAX_MESSAGE_BYTES:
                return done
        return _done(message, None)


def _done(message: JobEnded, result: ResultView | None) -> DoneMessage:
    job = message.record.job
    return DoneMessage.model_validate(
        {
            "job_id": job.id,
            "version": message.version,
            "part": message.part,
            "status": job.status.value,
            "result": result,
            "error": error_view(job.error),
        }
    )


def _ever_shorter(result: ResultView) -> Iterator[ResultView]:
    """The result, then without its values, then without its warnings, then with fewer artifacts.

    The length of values, names and signed URLs is not known, so the messages are measured.
    """
    yield result
    result = result.model_copy(update={"values": {}, "values_cut": [], "truncated": True})
    yield result
    result = result.model_copy(update={"warnings": []})
    yield result
    while result.artifacts:
        result = result.model_copy(update={"artifacts": result.artifacts[:-1]})
        yield result


def status_message(state: StateChanged) -> StatusMessage:
    """The state of a job at the present or at an earlier version."""
    return StatusMessage(
        job_id=state.job_id,
        version=state.version,
        part=state.part,
        status="canceling" if state.is_canceling else state.status.value,
        progress=state.progress,
        attempt=state.attempt,
        reason=_REASONS.get(state.event) if state.event else None,
        snapshot=state.is_snapshot or None,
    )


def closing_message(notice: ClosingNotice) -> ErrorMessage:
    """The last message on a socket that the service closes."""
    return ErrorMessage(code=notice.code, message=notice.text)


def encoded(message: BaseModel) -> bytes:
    """The bytes of a message: JSON without the fields that have no value."""
    return message.model_dump_json(exclude_none=True).encode()
