"""Sockets in memory. A test says which clients are gone or slow."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from threading import RLock

from comfyline.contract.ids import ConnectionId, KeyId
from comfyline.service.errors import ConnectionGone, TooManySubscriptions, Unavailable
from comfyline.service.live.sockets import Connection, Subscriber, Topic


class InMemoryConnectionStore:
    """`ConnectionStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._open: dict[ConnectionId, Connection] = {}
        self._subscriptions: defaultdict[Topic, dict[ConnectionId, _Subscription]] = defaultdict(
            dict
        )

    def open(self, connection: Connection) -> None:
        """See ConnectionStore."""
        with self._lock:
            self._open[connection.id] = connection

    def has_room(self, connection: Connection, limit: int, *, of_user: bool = False) -> bool:
        """See ConnectionStore."""
        with self._lock:
            of_key = [each for each in self._open.values() if each.key_id == connection.key_id]
        counted = [each for each in of_key if not of_user or each.user == connection.user]
        return len(counted) < limit

    def get(self, connection_id: ConnectionId) -> Connection | None:
        """See ConnectionStore."""
        with self._lock:
            return self._open.get(connection_id)

    def close(self, connection_id: ConnectionId) -> None:
        """See ConnectionStore."""
        with self._lock:
            self._open.pop(connection_id, None)
            for of_job in self._subscriptions.values():
                of_job.pop(connection_id, None)

    def subscribe(
        self, connection: Connection, topic: Topic, *, since: datetime, limit: int
    ) -> None:
        """See ConnectionStore."""
        with self._lock:
            if connection.id not in self._open:
                raise ConnectionGone(connection.id)
            others = sum(
                connection.id in of_topic
                for other, of_topic in self._subscriptions.items()
                if other != topic
            )
            if others >= limit:
                raise TooManySubscriptions(limit)
            subscription = _Subscription(since, connection.expires_at)
            self._subscriptions[topic][connection.id] = subscription

    def unsubscribe(self, connection_id: ConnectionId, topic: Topic) -> None:
        """See ConnectionStore."""
        with self._lock:
            self._subscriptions[topic].pop(connection_id, None)

    def subscribers(self, topic: Topic, now: datetime) -> list[Subscriber]:
        """See ConnectionStore."""
        with self._lock:
            found = sorted(self._subscriptions[topic].items())
        return [Subscriber(id_, each.since) for id_, each in found if each.expires_at > now]

    def open_sockets(
        self, key_id: KeyId | None = None, session: str | None = None
    ) -> list[ConnectionId]:
        """See ConnectionStore."""
        with self._lock:
            found = list(self._open.values())
        of_key = [one for one in found if key_id is None or one.key_id == key_id]
        return [one.id for one in of_key if session is None or one.session == session]


@dataclass(frozen=True, slots=True)
class _Subscription:
    since: datetime
    expires_at: datetime


class InMemorySockets:
    """`Sockets` in memory. A test reads the `sent` messages, and sets clients `gone` or `slow`."""

    def __init__(self) -> None:
        self.sent: defaultdict[ConnectionId, list[bytes]] = defaultdict(list)
        self.gone: set[ConnectionId] = set()
        self.slow: set[ConnectionId] = set()
        self.closed: set[ConnectionId] = set()
        self._lock = RLock()

    def post(self, connection_id: ConnectionId, message: bytes) -> None:
        """See Sockets."""
        with self._lock:
            if connection_id in self.gone | self.closed:
                raise ConnectionGone(connection_id)
            if connection_id in self.slow:
                raise Unavailable(f"{connection_id} is slow")
            self.sent[connection_id].append(message)

    def close(self, connection_id: ConnectionId) -> None:
        """See Sockets."""
        with self._lock:
            self.closed.add(connection_id)
