"""Tell the followers of a job what has changed, from the old and the new images of its row.

Nothing is remembered between changes: messages are derived, and numbered by (version, part). Each
follower is served on its own, in order; a slow one loses progress first, and is hung up on when it
does not even take a state, so that it comes again and resumes. It never holds up another.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta

from comfyline.api.v1.messages import (
    artifact_messages,
    ending_messages,
    missed_messages,
    progress_message,
    status_message,
    with_preview,
)
from comfyline.contract.ids import ConnectionId
from comfyline.contract.v1.socket import JobMessage, ProgressMessage, StatusMessage
from comfyline.service.clock import Clock
from comfyline.service.errors import ConnectionGone, Unavailable
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore
from comfyline.service.ledger.count import Change
from comfyline.service.live.sockets import ConnectionStore, Sockets, Subscriber
from comfyline.service.metrics import Metric, Metrics

MAX_TRIES = 3  # of a message that must arrive; after that the client is hung up on, and resumes
PATIENCE = timedelta(seconds=2)  # for all of its tries
TRY_AGAIN_SECONDS = 0.3  # what a gateway needs to drain a client's buffer
# The gateway answers "gone" until `$connect` has returned, so a young socket may yet be there.
CONNECT_GRACE = timedelta(seconds=10)

_log = logging.getLogger(__name__)


class _TooSlow(Exception):
    """The client does not take a message that must arrive."""


def message_of(old: Job | None, new: Job) -> StatusMessage | ProgressMessage | None:
    """What a change says: the new state, or how far the attempt is; None if no client sees it."""
    if old is not None and old.version == new.version:
        return None
    recorded = bool(new.history) and new.history[-1].version == new.version
    return status_message(new) if recorded else progress_message(new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """Sends the messages of changes to everybody who follows the job.

    `executor` runs the posts, which only wait; they wait for nothing else in it.
    """

    jobs: JobStore
    connections: ConnectionStore
    artifacts: ArtifactStore
    sockets: Sockets
    metrics: Metrics
    clock: Clock
    executor: Executor
    sleep: Callable[[float], None] = time.sleep

    def notify(self, changes: Sequence[Change]) -> int:
        """Deliver what consecutive changes of one job say, at least once; how many posts it took.

        A job that nobody watches costs no read: whoever subscribes writes `watched_until` before
        taking the snapshot, so a row without it was changed before that snapshot. Likewise who
        subscribes after the subscribers were read takes a snapshot that has all these changes.

        Raises:
            Unavailable: nobody, or not everybody, was told; the same call may be made again.
        """
        watched = [change for change in changes if self._is_watched(change[1])]
        messages = _without_outdated_progress([m for c in watched if (m := message_of(*c))])
        if not messages:
            return 0
        job = changes[-1][1]
        subscribers = self.connections.subscribers(job.id, self.clock())
        if not subscribers:
            return 0
        messages = self._with_new_preview(messages, watched)
        told = [*messages, *self._of_record(job, _listed(watched), told=job.stored)]
        told.sort(key=lambda message: (message.version, message.part))
        served = list(self.executor.map(lambda one: self._serve(one, told), subscribers))
        if job.status.is_terminal:
            ones = [one for one, posts in zip(subscribers, served, strict=True) if posts]
            self._forget(job, ones)
        if sent := sum(served):
            self.metrics.record(Metric.UPDATES_SENT, sent)
        return sent

    def answer(self, connection: ConnectionId, job: Job, after: int | None) -> None:
        """Answer a subscription: what was missed since `after`, the snapshot, the end if it is.

        Raises:
            ConnectionGone: the client has left, or its `$connect` has not returned yet.
        """
        missed = missed_messages(job, after) if after is not None else []
        listed = [(job, range(job.stored))] if job.stored and not job.status.is_terminal else []
        messages = [*missed, status_message(job, snapshot=True), *self._of_record(job, listed)]
        try:
            for message in messages:
                self._post(connection, message)
        except _TooSlow:
            return self._hang_up(connection)
        if job.status.is_terminal:
            self.connections.unsubscribe(connection, job.id)
        return None

    def _is_watched(self, job: Job) -> bool:
        return job.watched_until is not None and job.watched_until >= self.clock()

    def _with_new_preview(
        self, messages: Sequence[JobMessage], changes: Sequence[Change]
    ) -> list[JobMessage]:
        """The progress, with the attempt's newest preview if these changes have brought one."""
        job = changes[-1][1]
        is_new = any(old is None or old.previewed < new.previewed for old, new in changes)
        if not (is_new and job.previewed):
            return [*messages]
        return [
            with_preview(message, job, self.artifacts)
            if isinstance(message, ProgressMessage)
            else message
            for message in messages
        ]

    def _of_record(
        self, job: Job, listed: Sequence[tuple[Job, range]], told: int = 0
    ) -> list[JobMessage]:
        """What takes a look at the record: the files that are listed, by number, and the end.

        `told` is how many of the files the followers of an ended job know of.
        """
        if not (listed or job.status.is_terminal):
            return []
        record = self.jobs.read(job.id)
        if record is None:
            return []
        files = [
            message
            for at, numbers in listed
            if at.attempt_path == record.job.attempt_path  # else they are void by now
            for message in artifact_messages(
                record, self.artifacts, version=at.version, numbers=numbers
            )
        ]
        if not job.status.is_terminal:
            return [*files]
        return [*files, *ending_messages(record, self.artifacts, self.clock(), told=told)]

    # --- one follower -----------------------------------------------------------------------------

    def _serve(self, one: Subscriber, messages: Sequence[JobMessage]) -> int:
        try:
            for message in messages:
                self._post(one.id, message)
        except _TooSlow:
            self._tidy(lambda: self._hang_up(one.id))
            return 0
        except ConnectionGone:
            if one.since + CONNECT_GRACE < self.clock():
                self.metrics.record(Metric.FOLLOWERS_GONE)
                self._tidy(lambda: self.connections.close(one.id))
            return 0
        return len(messages)

    def _forget(self, job: Job, ones: Sequence[Subscriber]) -> None:
        """Only when all have been told: one's two writes would hold up the end of another."""
        forget = self.connections.unsubscribe
        list(self.executor.map(lambda one: self._tidy(lambda: forget(one.id, job.id)), ones))

    def _hang_up(self, connection: ConnectionId) -> None:
        _log.warning("client too slow", extra={"action": "client_hung_up_on"})
        self.metrics.record(Metric.FOLLOWERS_SLOW)
        self.sockets.close(connection)
        self.connections.close(connection)

    def _tidy(self, act: Callable[[], None]) -> None:
        """What TTL would do in time is not worth telling everybody again."""
        try:
            act()
        except Unavailable:
            _log.warning("subscription left over", extra={"action": "subscription_left"})

    def _post(self, connection: ConnectionId, message: JobMessage) -> None:
        body = message.model_dump_json(exclude_none=True).encode()
        if isinstance(message, ProgressMessage):
            return self._post_once(connection, message.job_id, body)
        return self._post_surely(connection, body)

    def _post_once(self, connection: ConnectionId, job_id: str, body: bytes) -> None:
        try:
            self.sockets.post(connection, body)
        except Unavailable:  # the next one tells more
            extra = {"action": "progress_dropped", "job_id": job_id}
            _log.info("progress dropped", extra=extra)

    def _post_surely(self, connection: ConnectionId, body: bytes) -> None:
        give_up_at = self.clock() + PATIENCE
        for left in reversed(range(MAX_TRIES)):
            try:
                return self.sockets.post(connection, body)
            except Unavailable as error:
                if left == 0 or self.clock() >= give_up_at:
                    raise _TooSlow from error
                self.sleep(TRY_AGAIN_SECONDS)
        return None


def _listed(changes: Sequence[Change]) -> list[tuple[Job, range]]:
    """The numbers of the files that each change lists, before the end of the attempt lists all."""
    return [
        (new, range(old.stored, new.stored))
        for old, new in changes
        if old is not None and old.stored < new.stored
    ]


def _without_outdated_progress(messages: Sequence[JobMessage]) -> list[JobMessage]:
    """Every state, and of the progress only what nothing here comes after."""
    last = len(messages) - 1
    return [
        message
        for n, message in enumerate(messages)
        if n == last or not isinstance(message, ProgressMessage)
    ]
