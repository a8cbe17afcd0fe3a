"""Send the messages of a job's changes to the subscribers of that job.

Every subscriber is served on its own and in order, so a slow one delays no other. The more
subscribers a job has, the less often they are shown its progress.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from comfyline.contract.ids import ConnectionId
from comfyline.service.clock import Clock
from comfyline.service.jobs.artifacts import artifacts_of
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore
from comfyline.service.live.broadcast import Broadcast, Chunk
from comfyline.service.live.delivery import Post
from comfyline.service.live.messages import (
    Encode,
    Message,
    NewFiles,
    ProgressMade,
    ending_of,
    files_of,
    known_at_end,
    messages_of,
    missed_states,
    new_files,
    newest_files,
    order_of,
    state_of,
    unannounced,
)
from comfyline.service.live.sockets import ConnectionStore, Subscriber, jobs_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """Finds the subscribers of a job and sends them its messages."""

    jobs: JobStore
    connections: ConnectionStore
    broadcast: Broadcast
    encode: Encode
    clock: Clock

    def notify(self, changes: Sequence[Change]) -> int:
        """Deliver the messages of consecutive changes of one job at least once.

        Returns the number of messages posted. A job without subscribers costs no read: a client
        that subscribes writes `watched_until` before it takes its snapshot, so a row without it
        was changed before that snapshot. A client that subscribes after this method has read the
        subscribers takes a snapshot that already contains these changes.

        Raises:
            Unavailable: some subscribers did not get the messages; the same call may be repeated.
        """
        watched = [change for change in changes if change.after.is_watched(self.clock())]
        messages = messages_of(watched)
        if not messages:
            return 0
        job = changes[-1].after
        of_job = self.connections.subscribers(job.id, self.clock())
        of_owner = self._followers_of_the_owner(job, of_job)
        if not of_job and not of_owner:
            return 0
        ending = self._ending(job, announced=known_at_end(watched))
        others = [*self._files(new_files(watched)), *ending]
        shown = for_audience(messages, watched, len(of_job))
        sent = self._send(job, of_job, shown + others, is_end=job.status.is_terminal)
        shown = in_steps(messages, watched, OWNER_STEPS)
        # A socket that follows all jobs stays subscribed when one of them ends.
        return sent + self._send(job, of_owner, shown + others, is_end=False)

    def _followers_of_the_owner(self, job: Job, known: Sequence[Subscriber]) -> list[Subscriber]:
        """The sockets that follow all jobs of the owner, but not this one by itself.

        Costs no read unless a client has followed the owner since the job was posted.
        """
        if job.owner_watched_until is None or job.owner_watched_until < self.clock():
            return []
        served = {subscriber.id for subscriber in known}
        found = self.connections.subscribers(jobs_of(job.owner), self.clock())
        return [subscriber for subscriber in found if subscriber.id not in served]

    def _send(
        self, job: Job, to: Sequence[Subscriber], messages: Sequence[Message], *, is_end: bool
    ) -> int:
        posts = self._encoded(sorted(messages, key=order_of)) if to else []
        return self.broadcast.send(Chunk(job.id, to, posts, is_end)) if posts else 0

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
        posts = self._encoded(messages)
        is_delivered = self.broadcast.delivery.as_answer(connection, posts)
        if is_delivered and job.status.is_terminal:
            self.connections.unsubscribe(connection, job.id)

    def show(self, connection: ConnectionId, jobs: Iterable[Job]) -> None:
        """Post the state of each job: the snapshots of a client that follows all of them.

        Raises:
            ConnectionGone: the client has left.
        """
        posts = self._encoded(state_of(job, is_snapshot=True) for job in jobs)
        self.broadcast.delivery.as_answer(connection, posts)

    def _files(self, listed: Iterable[NewFiles]) -> list[Message]:
        """The messages of files that a running attempt has listed."""
        return [
            file
            for each in listed
            for file in files_of(each, self.jobs.artifacts(each.at, each.numbers))
        ]

    def _ending(self, job: Job, announced: int = 0) -> list[Message]:
        """The messages of the end, if the job has ended: one read, of the job with its files.

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


# With more subscribers, progress is sent in steps, so that the number of posts does not grow with
# them: a job with 10,000 subscribers has some 50,000 posts in all instead of 20,000 a second.
PROGRESS_STEPS = ((200, None), (2_000, 20), (sys.maxsize, 4))
# A socket that follows all jobs of an owner is shown the progress of each in so many steps.
OWNER_STEPS = 20


def for_audience(
    messages: Sequence[Message], changes: Sequence[Change], subscribers: int
) -> list[Message]:
    """The messages without the progress that so many subscribers are not shown."""
    steps = next(steps for most, steps in PROGRESS_STEPS if subscribers <= most)
    return list(messages) if steps is None else in_steps(messages, changes, steps)


def in_steps(messages: Sequence[Message], changes: Sequence[Change], steps: int) -> list[Message]:
    """The messages without the progress that stays within one of so many steps."""
    if _has_new_step(changes, steps):
        return list(messages)
    return [message for message in messages if not isinstance(message, ProgressMade)]


def _has_new_step(changes: Sequence[Change], steps: int) -> bool:
    """Whether the progress has reached another step of the attempt in these changes."""
    before, after = changes[0].before, changes[-1].after
    if before is None or before.attempt != after.attempt:
        return True
    return int(before.progress.fraction * steps) != int(after.progress.fraction * steps)
