"""Ports for open WebSockets and their subscriptions.

A client can leave at any moment, so a closed socket is a normal answer and not a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NewType, Protocol, TypeAlias

from comfyline.contract.ids import principal_of

if TYPE_CHECKING:
    from comfyline.contract.ids import ConnectionId, JobId, KeyId, OwnerId, Principal, UserId

CONNECTION_LIFETIME = timedelta(hours=2)  # API Gateway ends a WebSocket then
# The marks of followed jobs and owners are rounded up to the end of a step. A second subscriber
# then writes the same time, so the row does not change and no stream record wakes the pusher.
WATCH_STEP = timedelta(minutes=30)
# How long a post may not know yet that a client follows all jobs of its owner: API Gateway keeps an
# authorizer's answer for 30 s, and a request may last a few seconds more.
OWNER_MARK_LAG = timedelta(seconds=40)

OWNER_PREFIX = "owner#"
# What a socket can be subscribed to: a job, or all jobs of an owner.
OwnersJobs = NewType("OwnersJobs", str)
Topic: TypeAlias = "JobId | OwnersJobs"


def jobs_of(owner: OwnerId) -> OwnersJobs:
    """All jobs of the owner, as a topic. No job id and no other owner makes the same text."""
    return OwnersJobs(f"{OWNER_PREFIX}{owner}")


@dataclass(frozen=True, slots=True)
class Connection:
    """An open WebSocket, and who opened it.

    That is an owner with its key, a user with a token of it, or the page of a session.

    After `expires_at` nothing is sent to it.
    """

    id: ConnectionId
    owner: OwnerId
    key_id: KeyId
    expires_at: datetime
    user: UserId | None = None
    session: str | None = None  # the hash of the session whose bearer has opened it

    @property
    def principal(self) -> Principal:
        """Whose jobs it may follow."""
        return principal_of(self.owner, self.user)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A socket that is subscribed to a topic, and the time of its subscription."""

    id: ConnectionId
    since: datetime


class ConnectionStore(Protocol):
    """Open sockets and their subscriptions. Every read by id is consistent."""

    def open(self, connection: Connection) -> None:
        """Store a new socket."""

    def has_room(self, connection: Connection, limit: int, *, of_user: bool = False) -> bool:
        """Whether the key of a new connection has fewer than `limit` open sockets.

        With `of_user`, only those of the connection's user count, which the key's tokens opened.

        The answer may lag by moments, so a burst may exceed the limit. A high limit is judged by a
        sample of the key's sockets. The cost is a few reads.
        """

    def get(self, connection_id: ConnectionId) -> Connection | None:
        """The socket; None if it was closed."""

    def close(self, connection_id: ConnectionId) -> None:
        """Delete the socket and its subscriptions; closing twice is no error."""

    def subscribe(
        self, connection: Connection, topic: Topic, *, since: datetime, limit: int
    ) -> None:
        """Add the socket to the topic's subscribers; repeating the call changes nothing.

        Raises:
            ConnectionGone: the socket was closed.
            TooManySubscriptions: it is subscribed to `limit` other topics already.
        """

    def unsubscribe(self, connection_id: ConnectionId, topic: Topic) -> None:
        """Remove the socket from the subscribers; no error if it was not among them."""

    def subscribers(self, topic: Topic, now: datetime) -> list[Subscriber]:
        """Every socket that is subscribed to the topic and has not reached its end of life."""

    def open_sockets(
        self, key_id: KeyId | None = None, session: str | None = None
    ) -> list[ConnectionId]:
        """The open sockets of the key or of its session, or all. The answer may lag by moments.

        Its cost grows with the number of sockets that it names, and with no other.
        """


class Sockets(Protocol):
    """Sends to the clients behind open sockets."""

    def post(self, connection_id: ConnectionId, message: bytes) -> None:
        """Deliver one message.

        Raises:
            ConnectionGone: the client has left, or its `$connect` has not returned yet.
            Unavailable: the client is slow or the gateway throttles.
        """

    def close(self, connection_id: ConnectionId) -> None:
        """Close the socket; no error if the client has left."""
