"""Each message of a job once, and in order, however often and from wherever it comes.

Messages are numbered by (version, part), and what is not newer than the last is old. Only after a
subscription may something newer overtake what its answer still has to say; so until the answer's
snapshot is there, everything is kept and then sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from comfyline.contract.v1 import common, responses
from comfyline.contract.v1.socket import (
    ArtifactMessage,
    DoneMessage,
    JobMessage,
    ProgressMessage,
    StatusMessage,
)


class Sieve:
    """Lets each message of one job through once."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.version = -1  # of the last message let through; resuming begins after it
        self.status: common.Status | None = None
        self.ended = False
        self._seen = (-1, -1)  # (version, part) of the last message let through
        self._state: tuple[str, int] | None = None  # (status, attempt), as last told
        self._position: int | None = None  # in the queue, as last told
        self._files: set[tuple[int, int]] = set()  # (attempt, number) of those told
        self._kept: list[JobMessage] | None = None  # while an answer is awaited

    def subscribed(self) -> None:
        """From now on an answer is awaited."""
        self._kept = []

    def unsubscribed(self) -> None:
        """No answer will come any more; what was kept will be told again."""
        self._kept = None

    def take(self, message: JobMessage) -> list[JobMessage]:
        """What a message from the socket lets through."""
        if self._kept is None:
            return self._fresh([message])
        self._kept.append(message)
        if not (isinstance(message, StatusMessage) and message.snapshot):
            return []
        kept, self._kept = self._kept, None
        return self._fresh(sorted(kept, key=_number))

    def take_view(
        self, view: responses.JobView, missed: Iterable[responses.EventView] = ()
    ) -> list[JobMessage]:
        """What a read over HTTP lets through; `missed` are the changes of state before it."""
        news = (view.status, view.attempt) != self._state
        told = [status_of(view, event) for event in missed if event.version < view.version]
        return self._fresh([*told, *messages_of(view, news=news)]) or self._moved_up(view)

    def has_missed(self, view: responses.JobView) -> bool:
        """Between the last message and the read there may be changes of state."""
        news = (view.status, view.attempt) != self._state
        return news and 0 <= self.version < view.version - 1

    def _moved_up(self, view: responses.JobView) -> list[JobMessage]:
        """A place in the queue has no number of its own."""
        if self.ended or view.queue_position in (None, self._position):
            return []
        self._position = view.queue_position
        return [next(message for message in messages_of(view, news=True))]

    def _fresh(self, messages: Iterable[JobMessage]) -> list[JobMessage]:
        fresh = []
        for message in messages:
            if message.job_id != self.job_id or _number(message) <= self._seen or self.ended:
                continue
            self._seen, self.version = _number(message), message.version
            if not self._is_told_file(message):
                self._remember(message)
                fresh.append(message)
        return fresh

    def _is_told_file(self, message: JobMessage) -> bool:
        """A file is told as it is stored, and again in each answer and in a read after the end."""
        if not isinstance(message, ArtifactMessage):
            return False
        return (message.attempt, message.number) in self._files

    def _remember(self, message: JobMessage) -> None:
        if isinstance(message, StatusMessage):
            self.status = message.status
            self._state = (message.status, message.attempt)
            self._position = message.queue_position or self._position
        if isinstance(message, ArtifactMessage):
            self._files.add((message.attempt, message.number))
        self.ended = isinstance(message, DoneMessage)


def _number(message: JobMessage) -> tuple[int, int]:
    return message.version, message.part


def status_of(view: responses.JobView, event: responses.EventView) -> StatusMessage:
    """A change of state that was missed, as the service would have told it."""
    # A state begins at 0, but for a cancel, which comes in the middle of an attempt.
    canceling = event.event == "cancel_requested"
    amid = canceling and event.attempt == view.attempt
    return StatusMessage(
        job_id=view.job_id,
        version=event.version,
        status="canceling" if canceling else event.status,
        progress=view.progress if amid else 0.0,
        attempt=event.attempt,
        reason=_REASONS.get(event.event),
    )


_REASONS = {
    "claimed": "claimed",
    "interrupted": "interrupted",
    "failed": "attempt_failed",
    "lease_expired": "worker_lost",
}


def messages_of(view: responses.JobView, *, news: bool) -> Iterator[JobMessage]:
    """What the service would say of this version of the job, in the same order and numbering.

    `news` tells whether the state itself is new; if not, and the job runs, it is progress.
    """
    at: dict[str, Any] = {"job_id": view.job_id, "version": view.version}
    state: dict[str, Any] = {
        "status": view.status,
        "progress": view.progress,
        "attempt": view.attempt,
    }
    if news or view.status != "running":
        state["queue_position"] = view.queue_position
        yield StatusMessage.model_validate({**at, **state})
    else:
        detail = view.progress_detail.model_dump()
        yield ProgressMessage.model_validate({**detail, **at, "progress": view.progress})
    if view.status in get_args(common.EndStatus):
        yield from _ending(view, at)


def _ending(view: responses.JobView, at: dict[str, Any]) -> Iterator[JobMessage]:
    artifacts = view.result.artifacts if view.result else []
    for number, artifact in enumerate(artifacts):
        place = {"part": number + 1, "number": number, "attempt": view.attempt}
        told = artifact.model_dump() | at | place
        yield ArtifactMessage.model_validate(told)
    end = {"status": view.status, "result": view.result, "error": view.error}
    yield DoneMessage.model_validate({**at, "part": len(artifacts) + 1, **end})
