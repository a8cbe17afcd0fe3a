"""Subscribe a socket to a job.

The order makes sure that no change is lost: first the subscription is stored, then the row is
marked as watched, and the answer of that write is the snapshot. A change before the mark is in the
snapshot; the pusher finds the subscription for every change after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from comfyline.contract.ids import ConnectionId, JobId
from comfyline.contract.limits import MAX_SUBSCRIPTIONS
from comfyline.service.clock import Clock
from comfyline.service.errors import ConnectionGone
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.read import expire_if_overdue, owned
from comfyline.service.jobs.store import JobStore
from comfyline.service.live.notify import Notifier
from comfyline.service.live.sockets import Connection, ConnectionStore

# `watched_until` is rounded up to the end of a step. A second subscriber then writes the same time,
# so the row does not change and no stream record wakes the pusher.
WATCH_STEP = timedelta(minutes=30)
_ROUNDING_ORIGIN = datetime.min.replace(tzinfo=UTC)  # the steps are counted from here

# Pauses between the tries to reach a new socket, because its `$connect` may still run. They add up
# to 5 s, which is longer than a cold start of the function behind `$connect`.
GREETING_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.75, 1.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriptions:
    """Subscribes sockets to jobs. The owner of the socket must be the owner of the job."""

    jobs: JobStore
    connections: ConnectionStore
    notifier: Notifier
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def subscribe(self, socket: ConnectionId, job_id: JobId, *, after: int | None = None) -> None:
        """Subscribe the socket and answer with the states that it missed since version `after`.

        A repeated call changes nothing and answers again. The socket is not subscribed if an error
        is raised.

        Raises:
            JobNotFound: the job is unknown, past its retention, or of another owner.
            TooManySubscriptions: the socket is subscribed to MAX_SUBSCRIPTIONS jobs already.
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
        """Subscribe a socket that is still being opened, as soon as it can receive messages.

        `$connect` stores the socket before this is called. So a socket that is not stored was
        closed, and the call ends at once: it must not occupy a function for a client that has left.

        Raises:
            JobNotFound, TooManySubscriptions: see `subscribe`.
            ConnectionGone: the client has left, or the socket could not be reached in
                GREETING_PAUSES_SECONDS.
        """
        for pause in GREETING_PAUSES_SECONDS:
            try:
                return self.subscribe(socket, job_id)
            except ConnectionGone:
                if self.connections.get(socket) is None:
                    raise
                self.sleep(pause)
        return self.subscribe(socket, job_id)

    def _owned(self, connection: Connection, job_id: JobId) -> Job:
        # Checked before the subscription is stored, so that no push ever reaches another owner.
        now = self.clock()
        job = owned(self.jobs.get(job_id), job_id, connection.owner, now)
        return expire_if_overdue(now, self.jobs, job)

    def _subscribed(self, connection: Connection, job: Job) -> Job:
        now, limit = self.clock(), MAX_SUBSCRIPTIONS
        self.connections.subscribe(connection, job.id, since=now, limit=limit)
        return self.jobs.watch(job.id, _rounded_up(connection.expires_at)) or job


def _rounded_up(time: datetime) -> datetime:
    """The end of the step that `time` lies in."""
    return time + (_ROUNDING_ORIGIN - time) % WATCH_STEP
