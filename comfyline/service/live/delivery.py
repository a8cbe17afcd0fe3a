"""Deliver messages to the socket of one subscriber, in order and with limited patience.

A slow client loses progress first, because newer progress replaces it. If a client does not take a
state in MAX_TRIES, it is disconnected; when it connects again, it asks for the missed states. A
slow or closed socket never delays another subscriber.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from comfyline.contract.ids import ConnectionId, JobId
from comfyline.service.clock import Clock
from comfyline.service.errors import ConnectionGone, Unavailable
from comfyline.service.live.sockets import ConnectionStore, Sockets, Subscriber
from comfyline.service.metrics import Metric, Metrics

MAX_TRIES = 3  # for a message that must arrive; after that the client is disconnected
PATIENCE = timedelta(seconds=2)  # for all tries of one message together
RETRY_SECONDS = 0.3  # API Gateway needs about this long to drain a client's buffer
# API Gateway answers "gone" until `$connect` has returned, so a young socket may still open.
CONNECT_GRACE = timedelta(seconds=10)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Post:
    """One encoded message of a job. If it need not arrive, it is tried once."""

    job_id: JobId
    body: bytes
    must_arrive: bool


class _TooSlow(Exception):
    """The client does not take a message that must arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Posts to one socket at a time; safe to use from several threads."""

    connections: ConnectionStore
    sockets: Sockets
    metrics: Metrics
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def to_subscriber(self, subscriber: Subscriber, posts: Sequence[Post]) -> bool:
        """Post all messages; False if the client left or was disconnected for being slow."""
        try:
            self._post_all(subscriber.id, posts)
        except _TooSlow:
            clean_up(lambda: self._disconnect(subscriber.id))
            return False
        except ConnectionGone:
            if subscriber.since + CONNECT_GRACE < self.clock():
                self.metrics.record(Metric.FOLLOWERS_GONE)
                clean_up(lambda: self.connections.close(subscriber.id))
            return False
        return True

    def as_answer(self, connection: ConnectionId, posts: Sequence[Post]) -> bool:
        """Post the answer to a subscription; False if the client was disconnected for being slow.

        Raises:
            ConnectionGone: the client has left, or its `$connect` has not returned yet.
        """
        try:
            self._post_all(connection, posts)
        except _TooSlow:
            self._disconnect(connection)
            return False
        return True

    def _post_all(self, connection: ConnectionId, posts: Sequence[Post]) -> None:
        for post in posts:
            if post.must_arrive:
                self._post_patiently(connection, post)
            else:
                self._post_once(connection, post)

    def _post_once(self, connection: ConnectionId, post: Post) -> None:
        try:
            self.sockets.post(connection, post.body)
        except Unavailable:  # a later message replaces this one
            extra = {"action": "progress_dropped", "job_id": post.job_id}
            _log.info("progress dropped", extra=extra)

    def _post_patiently(self, connection: ConnectionId, post: Post) -> None:
        give_up_at = self.clock() + PATIENCE
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                return self.sockets.post(connection, post.body)
            except Unavailable as error:
                if tries_left == 0 or self.clock() >= give_up_at:
                    raise _TooSlow from error
                self.sleep(RETRY_SECONDS)
        return None

    def _disconnect(self, connection: ConnectionId) -> None:
        extra = {"action": "client_hung_up_on", "connection_id": connection}
        _log.warning("client too slow, disconnected", extra=extra)
        self.metrics.record(Metric.FOLLOWERS_SLOW)
        self.sockets.close(connection)
        self.connections.close(connection)


def clean_up(action: Callable[[], object]) -> None:
    """Remove a subscription or a connection, best effort.

    A failure is only logged, because the TTL removes the row later. If it were raised, the stream
    would deliver the change again to subscribers that have received it.
    """
    try:
        action()
    except Unavailable:
        _log.warning("subscription not removed", extra={"action": "subscription_left"})
