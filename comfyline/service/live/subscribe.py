"""Subscribe a socket to a job, or to all jobs of its owner.

The order makes sure that no change is lost: first the subscription is stored, then the row is
marked as watched, and the answer of that write is the snapshot. A change before the mark is in the
snapshot; the pusher finds the subscription for every change after it.

For all jobs of an owner, the mark is also stored beside the owner's keys. The authorizer hands it
to each post, which writes it with its job, so a new job costs no further write and no read.
API Gateway caches the authorizer's answer, so jobs that are posted right after the subscription
may lack the mark: a client that subscribes again after OWNER_MARK_LAG marks these too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from comfyline.contract.ids import ConnectionId, JobId, OwnerId
from comfyline.contract.limits import MAX_FOLLOWED_JOBS, MAX_SUBSCRIPTIONS
from comfyline.service.access.keys import KeyStore
from comfyline.service.clock import Clock
from comfyline.service.errors import ConnectionGone, Forbidden
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.read import expire_if_overdue, owned
from comfyline.service.jobs.store import JobStore
from comfyline.service.live.notify import Notifier
from comfyline.service.live.sockets import WATCH_STEP, Connection, ConnectionStore, jobs_of

_ROUNDING_ORIGIN = datetime.min.replace(tzinfo=UTC)  # the steps are counted from here

# Pauses between the tries to reach a new socket, because its `$connect` may still run. They add up
# to 5 s, which is longer than a cold start of the function behind `$connect`.
GREETING_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.75, 1.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriptions:
    """Subscribes sockets to jobs. Whoever opened the socket must be allowed to see the job."""

    jobs: JobStore
    keys: KeyStore
    connections: ConnectionStore
    notifier: Notifier
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def subscribe(self, socket: ConnectionId, job_id: JobId, *, after: int | None = None) -> None:
        """Subscribe the socket and answer with the states that it missed since version `after`.

        A repeated call changes nothing and answers again. The socket is not subscribed if an error
        is raised.

        Raises:
            JobNotFound: the job is unknown, past its retention, or of another owner or user.
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

    def subscribe_to_all(self, socket: ConnectionId) -> None:
        """Subscribe the socket to all jobs of its owner.

        The answer is the state of each of the newest MAX_FOLLOWED_JOBS jobs that have not ended.
        Older ones are not announced. A repeated call changes nothing and answers again.

        Raises:
            TooManySubscriptions: the socket is subscribed to MAX_SUBSCRIPTIONS jobs already.
            ConnectionGone: the client has left.
            Forbidden: a token of a user has opened the socket.
        """
        connection = self.connections.get(socket)
        if connection is None:
            raise ConnectionGone(socket)
        if connection.user is not None:
            raise Forbidden("A token follows single jobs. Subscribe with `job_id`.")
        now, owner = self.clock(), connection.owner
        until = _rounded_up(connection.expires_at)
        topic, limit = jobs_of(owner), MAX_SUBSCRIPTIONS
        self.connections.subscribe(connection, topic, since=now, limit=limit)
        self.keys.watch_owner(owner, until)
        marked = [self.jobs.watch(job.id, until, by_owner=True) for job in self._live(owner)]
        live = [job for job in marked if job is not None and not job.status.is_terminal]
        self.notifier.show(connection.id, live)

    def unsubscribe_from_all(self, socket: ConnectionId) -> None:
        """End `subscribe_to_all`; subscriptions to single jobs stay."""
        if (connection := self.connections.get(socket)) is not None:
            self.connections.unsubscribe(socket, jobs_of(connection.owner))

    def _live(self, owner: OwnerId) -> list[Job]:
        """The newest MAX_FOLLOWED_JOBS jobs of the owner that have not ended."""
        page, limit = self.jobs.page, MAX_FOLLOWED_JOBS
        # In the order of a job's life, so that a job that starts meanwhile is found once at least.
        states = (Status.QUEUED, Status.RUNNING)
        found = [r.job for s in states for r in page(owner, status=s, limit=limit, after=None)]
        newest = sorted({job.id: job for job in found}.values(), key=lambda job: job.queued_at)
        return newest[-limit:]

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
        job = owned(self.jobs.get(job_id), job_id, connection.principal, now)
        return expire_if_overdue(now, self.jobs, job)

    def _subscribed(self, connection: Connection, job: Job) -> Job:
        now, limit = self.clock(), MAX_SUBSCRIPTIONS
        self.connections.subscribe(connection, job.id, since=now, limit=limit)
        return self.jobs.watch(job.id, _rounded_up(connection.expires_at)) or job


def _rounded_up(time: datetime) -> datetime:
    """The end of the step that `time` lies in."""
    return time + (_ROUNDING_ORIGIN - time) % WATCH_STEP
