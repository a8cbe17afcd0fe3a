"""Send the messages of a job's changes to the subscribers of that job.

Every subscriber is served on its own and in order, so a slow one delays no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from comfyline.contract.ids import ConnectionId
from comfyline.service.clock import Clock
from comfyline.service.jobs.artifacts import artifacts_of
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore
from comfyline.service.live.delivery import Delivery, Post, clean_up
from comfyline.service.live.messages import (
    Encode,
    Message,
    NewFiles,
    ProgressMade,
    ending_of,
    files_of,
    messages_of,
    missed_states,
    new_files,
    newest_files,
    order_of,
    state_of,
    unannounced,
)
from comfyline.service.live.sockets import ConnectionStore, Subscriber
from comfyline.service.metrics import Metric, Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """Finds the subscribers of a job and sends them its messages.

    `executor` runs one delivery for each subscriber. Deliveries spend their time waiting for the
    network, and none waits for another task of the executor.
    """

    jobs: JobStore
    connections: ConnectionStore
    delivery: Delivery
    encode: Encode
    metrics: Metrics
    clock: Clock
    executor: Executor

    def notify(self, changes: Sequence[Change]) -> int:
        """Deliver the messages of consecutive changes of one job at least once.

        Returns the number of messages posted. A job without subscribers costs no read: a client
        that subscribes writes `watched_until` before it takes its snapshot, so a row without it
        was changed before that snapshot. A client that subscribes after this method has read the
        subscribers takes a snapshot that already contains these changes.

        Raises:
            Unavailable: some subscribers did not get the messages; the same call may be repeated.
        """
        watched = [change for change in changes if self._is_watched(change.after)]
        messages = messages_of(watched)
        if not messages:
            return 0
        job = changes[-1].after
        subscribers = self.connections.subscribers(job.id, self.clock())
        if not subscribers:
            return 0
        messages += [*self._files(new_files(watched)), *self._ending(job, announced=job.stored)]
        posts = self._encoded(sorted(messages, key=order_of))
        reached = self._deliver(subscribers, posts)
        if job.status.is_terminal:
            self._unsubscribe(job, reached)
        if sent := len(posts) * len(reached):
            self.metrics.record(Metric.UPDATES_SENT, sent)
        return sent

    def answer(self, connection: ConnectionId, job: Job, after: int | None) -> None:
        """Answer a subscription with the states since `after`, the snapshot, the files and the end.

        Raises:
            ConnectionGone: the client has left, or its `$connect` has not returned yet.
        """
        missed = missed_states(job, after) if after is not None else []
        is_storing = job.stored > 0 and not job.status.is_terminal
        listed = [newest_files(job)] if is_storing else []
        snapshot = state_of(job, is_snapshot=True)
        messages = [*missed, snapshot, *self._files(listed), *self._ending(job)]
        is_delivered = self.delivery.as_answer(connection, self._encoded(messages))
        if is_delivered and job.status.is_terminal:
            self.connections.unsubscribe(connection, job.id)

    def _is_watched(self, job: Job) -> bool:
        return job.watched_until is not None and job.watched_until >= self.clock()

    def _files(self, listed: Iterable[NewFiles]) -> list[Message]:
        """The messages of files that a running attempt has listed."""
        return [
            file
            for each in listed
            for file in files_of(each, self.jobs.artifacts(each.at, each.numbers))
        ]

    def _ending(self, job: Job, announced: int = 0) -> list[Message]:
        """The messages of the end, if the job has ended.

        The subscribers of a job that has just ended already know its first `announced` files.
        """
        record = self.jobs.read(job.id) if job.status.is_terminal else None
        if record is None:
            return []
        numbers = unannounced(record, announced)
        return ending_of(record, numbers, artifacts_of(record, numbers, self.jobs))

    def _encoded(self, messages: Iterable[Message]) -> list[Post]:
        """Encoded once, however many subscribers there are; URLs are signed here."""
        return [
            Post(message.job_id, self.encode(message), not isinstance(message, ProgressMade))
            for message in messages
        ]

    def _deliver(
        self, subscribers: Sequence[Subscriber], posts: Sequence[Post]
    ) -> list[Subscriber]:
        """Post to all subscribers side by side; returns the subscribers that got everything."""
        delivered = self.executor.map(lambda s: self.delivery.to_subscriber(s, posts), subscribers)
        return [s for s, arrived in zip(subscribers, delivered, strict=True) if arrived]

    def _unsubscribe(self, job: Job, subscribers: Sequence[Subscriber]) -> None:
        """Delete the subscriptions after all deliveries, so that no delivery waits for a delete."""
        unsubscribe = self.connections.unsubscribe
        actions = [lambda s=s: unsubscribe(s.id, job.id) for s in subscribers]
        list(self.executor.map(clean_up, actions))
