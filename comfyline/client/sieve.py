"""Passes each message of a job on once and in order, however often and from wherever it comes.

Messages are numbered by (version, part), and a message that is not newer than the last one is
dropped. After a subscription a newer message may overtake the answer. So the sieve keeps all
messages until the answer's snapshot has arrived, and sorts them then.
"""

from __future__ import annotations

from collections.abc import Iterable

from comfyline.client.polled import messages_of
from comfyline.contract.v1 import common
from comfyline.contract.v1.responses import JobView
from comfyline.contract.v1.socket import ArtifactMessage, DoneMessage, JobMessage, StatusMessage


class Sieve:
    """Passes each message of one job on once.

    `version` is that of the last message passed on, where a new subscription resumes; -1 before the
    first one. `ended` is true after `done`.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.version = -1
        self.status: common.Status | None = None
        self.ended = False
        self._last = (-1, -1)  # (version, part) of the last message passed on
        self._state: tuple[str, int] | None = None  # last (status, attempt) passed on
        self._place: int | None = None  # last place in the queue passed on
        self._files: set[tuple[int, int]] = set()  # (attempt, number) of the files passed on
        self._kept: list[JobMessage] | None = None  # until the snapshot of a subscription

    def subscribed(self) -> None:
        """From now on keep messages, because the subscription's answer is still to come."""
        self._kept = []

    def unsubscribed(self) -> None:
        """Drop the kept messages: no answer will come, and the service sends them again."""
        self._kept = None

    def take(self, message: JobMessage) -> list[JobMessage]:
        """What can be passed on now that the socket has brought this message."""
        if self._kept is None:
            return self._new([message])
        self._kept.append(message)
        if not (isinstance(message, StatusMessage) and message.snapshot):
            return []
        kept, self._kept = self._kept, None
        return self._new(sorted(kept, key=_number))

    def take_view(self, view: JobView, missed: Iterable[StatusMessage] = ()) -> list[JobMessage]:
        """What can be passed on after a read over HTTP, and the state changes before it."""
        present = messages_of(view, state_is_new=self._state_is_new(view))
        return self._new([*missed, *present]) or self._moved_up(view)

    def may_have_missed(self, view: JobView) -> bool:
        """Whether there may be state changes between the last message and the view."""
        return self._state_is_new(view) and 0 <= self.version < view.version - 1

    def _state_is_new(self, view: JobView) -> bool:
        return (view.status, view.attempt) != self._state

    def _moved_up(self, view: JobView) -> list[JobMessage]:
        """The status again, if the job has another place in the queue; that has no version."""
        if self.ended or view.queue_position in (None, self._place):
            return []
        self._place = view.queue_position
        return messages_of(view, state_is_new=True)[:1]

    def _new(self, messages: Iterable[JobMessage]) -> list[JobMessage]:
        return [message for message in messages if self._is_new(message)]

    def _is_new(self, message: JobMessage) -> bool:
        if message.job_id != self.job_id or _number(message) <= self._last or self.ended:
            return False
        self._last, self.version = _number(message), message.version
        if isinstance(message, ArtifactMessage):
            return self._is_new_file(message)
        if isinstance(message, StatusMessage):
            self.status = message.status
            self._state = (message.status, message.attempt)
            self._place = message.queue_position or self._place
        self.ended = isinstance(message, DoneMessage)
        return True

    def _is_new_file(self, message: ArtifactMessage) -> bool:
        # The service sends a file when it is stored, and again with each answer and at the end.
        file = (message.attempt, message.number)
        is_new = file not in self._files
        self._files.add(file)
        return is_new


def _number(message: JobMessage) -> tuple[int, int]:
    return message.version, message.part
