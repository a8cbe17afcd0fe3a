"""A client follows a job over its socket.

Subscribe first, then note that the job is watched, whose answer is the snapshot: a change before
that note is in the snapshot, a change after it finds the subscription. Nothing falls between.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from comfyline.contract.ids import ConnectionId, JobId
from comfyline.contract.limits import MAX_SUBSCRIPTIONS
from comfyline.service.clock import Clock
from comfyline.service.errors import ConnectionGone, JobNotFound
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.read import expire_if_overdue
from comfyline.service.jobs.store import JobStore
from comfyline.service.live.notify import Notifier
from comfyline.service.live.sockets import Connection, ConnectionStore

# How long a job is watched is noted in such steps, so that who joins others changes nothing: each
# change of the row is read by the pusher.
WATCH_STEP = timedelta(minutes=30)
_A_STEP_ENDS = datetime.min.replace(tzinfo=UTC)  # and every step after it

# Between the tries to reach a socket whose `$connect` may not have returned yet: 5 s in all, longer
# than a cold start takes to answer.
GREETING_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.75, 1.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Subscribes sockets to their owners' jobs."""

    jobs: JobStore
    connections: ConnectionStore
    notifier: Notifier
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def follow(self, socket: ConnectionId, job_id: JobId, *, after: int | None = None) -> None:
        """Subscribe the socket and answer with what it missed since version `after`.

        Doing it again is harmless and answers again.

        Raises:
            JobNotFound: unknown, past its retention, or somebody else's; it is not subscribed.
            TooManySubscriptions: not subscribed either.
            ConnectionGone: the client has left, or its `$connect` has not returned yet.
        """
        connection = self.connections.get(socket)
        if connection is None:
            raise ConnectionGone(socket)
        job = self._owned(connection, job_id)
        if not job.status.is_terminal:
            job = self._subscribed(connection, job)
        self.notifier.answer(connection.id, job, after)

    def greet(self, socket: ConnectionId, job_id: JobId) -> None:
        """The same for a socket that is being opened, as soon as it can be spoken to.

        Raises:
            JobNotFound, TooManySubscriptions: as above.
            ConnectionGone: it could not be reached.
        """
        for pause in GREETING_PAUSES_SECONDS:
            try:
                return self.follow(socket, job_id)
            except ConnectionGone:
                self.sleep(pause)
        return self.follow(socket, job_id)

    def _owned(self, connection: Connection, job_id: JobId) -> Job:
        # Whose it is comes before all: a push must not find another's subscription even once.
        job = self.jobs.get(job_id)
        now = self.clock()
        if job is None or job.owner != connection.owner or job.is_past_retention(now):
            raise JobNotFound(job_id)
        return expire_if_overdue(now, self.jobs, job)

    def _subscribed(self, connection: Connection, job: Job) -> Job:
        now, limit = self.clock(), MAX_SUBSCRIPTIONS
        self.connections.subscribe(connection, job.id, since=now, limit=limit)
        return self.jobs.watch(job.id, _at_a_step(connection.expires_at)) or job


def _at_a_step(end: datetime) -> datetime:
    """The end of the step that `end` lies in."""
    return end + (_A_STEP_ENDS - end) % WATCH_STEP
