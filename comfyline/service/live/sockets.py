"""Open sockets and who listens on them. A socket may be gone at any call; that is no fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import ConnectionId, JobId, KeyId, OwnerId

CONNECTION_LIFETIME = timedelta(hours=2)  # API Gateway ends a WebSocket then


@dataclass(frozen=True, slots=True)
class Connection:
    """An open WebSocket and whose it is."""

    id: ConnectionId
    owner: OwnerId
    key_id: KeyId
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A socket that follows a job, and since when."""

    id: ConnectionId
    since: datetime


class ConnectionStore(Protocol):
    """Open sockets and what each follows. Every read by a name is consistent."""

    def open(self, connection: Connection) -> None:
        """Remember a socket."""

    def get(self, connection_id: ConnectionId) -> Connection | None:
        """The socket, unless it was closed."""

    def close(self, connection_id: ConnectionId) -> None:
        """Forget the socket and all that it follows; closing twice is no error."""

    def subscribe(
        self, connection: Connection, job_id: JobId, *, since: datetime, limit: int
    ) -> None:
        """From now on the socket is among the job's subscribers; twice is once.

        Raises:
            ConnectionGone: the socket was closed.
            TooManySubscriptions: it follows `limit` other jobs already.
        """

    def unsubscribe(self, connection_id: ConnectionId, job_id: JobId) -> None:
        """No longer; also when it never was."""

    def subscribers(self, job_id: JobId, now: datetime) -> list[Subscriber]:
        """Every socket that follows the job and can still be open."""

    def by_key(self) -> Mapping[KeyId, Sequence[ConnectionId]]:
        """Every open socket, by the key that it was opened with.

        It may lag by moments, at a cost that grows with the open sockets alone.
        """


class Sockets(Protocol):
    """The way to the clients behind open sockets."""

    def post(self, connection_id: ConnectionId, message: bytes) -> None:
        """Deliver one message.

        Raises:
            ConnectionGone: the client has left, or its `$connect` has not returned yet.
            Unavailable: the client is slow or the gateway throttles.
        """

    def close(self, connection_id: ConnectionId) -> None:
        """Hang up; no error if the client has left."""
