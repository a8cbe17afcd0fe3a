"""Tell the followers of a job what has changed, from the old and the new image of its row.

Nothing is remembered between changes: messages are derived, and numbered by (version, part).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from comfyline import wire
from comfyline.domain.errors import ConnectionGone, Unavailable
from comfyline.domain.ids import ConnectionId
from comfyline.domain.job import Job
from comfyline.ports import ArtifactStore, Clock, ConnectionStore, JobStore, Sockets
from comfyline.views import ending_messages, progress_message, status_message, status_of

MAX_TRIES = (
    3  # of a message that must arrive; after that the connection is closed to make it resume
)

_log = logging.getLogger(__name__)


def first_message(old: Job | None, new: Job) -> wire.JobMessage | None:
    """What a change says at once: the new state, or how far the attempt is; None if neither."""
    if old is not None and old.version == new.version:
        return None
    if old is None or (status_of(old), old.attempt) != (status_of(new), new.attempt):
        return status_message(new, reason=_reason(old, new))
    if old.progress != new.progress:
        return progress_message(new)
    return status_message(new)


def _reason(old: Job | None, new: Job) -> str | None:
    if old is None:
        return None
    if new.interruptions > old.interruptions:
        return "interrupted"
    if new.failures > old.failures and new.error is not None:
        return new.error.type
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """Sends the messages of changes to everybody who follows the job."""

    jobs: JobStore
    connections: ConnectionStore
    artifacts: ArtifactStore
    sockets: Sockets
    clock: Clock

    def notify(self, old: Job | None, new: Job) -> int:
        """Deliver what the change says, at least once; how many posts were made.

        A job that nobody watches costs no read: whoever subscribes writes `watched_until` before
        taking the snapshot, so a row without it was changed before that snapshot.
        """
        message = first_message(old, new)
        if message is None or new.watched_until is None or new.watched_until < self.clock():
            return 0
        subscribers = self.connections.subscribers(new.id)
        if not subscribers:
            return 0
        messages = [message, *self._ending(new)]
        return sum(self._deliver(connection, new, messages) for connection in subscribers)

    def tell(self, connection: ConnectionId, job: Job) -> None:
        """Send one follower the job as it is: the snapshot, and its end if it has ended."""
        self._deliver(connection, job, [status_message(job), *self._ending(job)])

    def _ending(self, job: Job) -> list[wire.JobMessage]:
        if not job.status.is_terminal:
            return []
        record = self.jobs.read(job.id)
        if record is None:
            return []
        return ending_messages(record, self.artifacts, self.clock())

    def _deliver(self, connection: ConnectionId, job: Job, messages: list[wire.JobMessage]) -> int:
        try:
            for message in messages:
                self._post(connection, message)
        except ConnectionGone:
            self.connections.unsubscribe(connection, job.id)
            return 0
        if job.status.is_terminal:
            self.connections.unsubscribe(connection, job.id)
        return len(messages)

    def _post(self, connection: ConnectionId, message: wire.JobMessage) -> None:
        body = message.model_dump_json(exclude_none=True).encode()
        tries = 1 if isinstance(message, wire.ProgressMessage) else MAX_TRIES
        for left in reversed(range(tries)):
            try:
                return self.sockets.post(connection, body)
            except Unavailable:
                if left == 0 and tries > 1:
                    raise  # the batch is retried: a state must arrive
        _log.warning(
            "progress dropped", extra={"action": "progress_dropped", "job_id": message.job_id}
        )
        return None
