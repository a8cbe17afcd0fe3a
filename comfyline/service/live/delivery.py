"""Deliver messages to the socket of one subscriber, in order and with limited patience.

A slow client loses progress first, because newer progress replaces it. If a client does not take a
state in MAX_TRIES, it is disconnected; when it connects again, it asks for the missed states. A
slow or closed socket never delays another subscriber.

API Gateway gives the same answer for a slow client and for an account that makes too many calls.
Posts to other sockets tell the two apart: if those fail too, the account is throttled, and no
client is disconnected. A client that receives nothing for a while polls.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from comfyline.contract.ids import ConnectionId, JobId
from comfyline.service.clock import Clock
from comfyline.service.errors import ConnectionGone, Unavailable
from comfyline.service.live.sockets import ConnectionStore, Sockets, Subscriber
from comfyline.service.metrics import Metric, Metrics

MAX_TRIES = 3  # for a message that must arrive; after that the client is disconnected
PATIENCE = timedelta(seconds=2)  # for all tries of one message together
# The longest pause after the first try; it doubles. API Gateway needs about this long to drain a
# client's buffer. Drawn at random, so that the posts of many sockets do not meet again.
RETRY_SECONDS = 0.3
# If more than this share of the other sockets that were tried meanwhile did not take a message at
# once, the account is throttled, and the client is not slow.
THROTTLED_SHARE = 0.25
REMEMBERED = 1_000  # tries
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


class Tries:
    """The latest tries of this process; they tell a slow client from a throttled account."""

    def __init__(self) -> None:
        self._latest: deque[tuple[datetime, ConnectionId, bool]] = deque(maxlen=REMEMBERED)
        self._lock = Lock()

    def note(self, at: datetime, connection: ConnectionId, *, taken: bool) -> None:
        """Remember one try. `taken`: the socket took the message."""
        with self._lock:
            self._latest.append((at, connection, taken))

    def is_throttled(self, slow: ConnectionId, since: datetime) -> bool:
        """Whether tries to other sockets failed as well since then; True if there were none."""
        with self._lock:
            latest = [(one, taken) for at, one, taken in self._latest if at >= since]
        others = {one for one, _ in latest} - {slow}
        failing = {one for one, taken in latest if not taken} - {slow}
        return not others or len(failing) > THROTTLED_SHARE * len(others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Posts to one socket at a time; safe to use from several threads."""

    connections: ConnectionStore
    sockets: Sockets
    metrics: Metrics
    clock: Clock
    sleep: Callable[[float], None] = time.sleep
    tries: Tries = field(default_factory=Tries)

    def to_subscriber(self, subscriber: Subscriber, posts: Sequence[Post]) -> bool:
        """Post all messages; False if some were not taken.

        The client has left, or was disconnected for being slow, or the account is throttled.
        """
        began = self.clock()
        try:
            self._post_all(subscriber.id, posts)
        except _TooSlow:
            if self._is_to_blame(subscriber.id, began):
                clean_up(lambda: self._disconnect(subscriber.id))
            return False
        except ConnectionGone:
            if subscriber.since + CONNECT_GRACE < self.clock():
                self.metrics.record(Metric.FOLLOWERS_GONE)
                clean_up(lambda: self.connections.close(subscriber.id))
            return False
        return True

    def as_answer(self, connection: ConnectionId, posts: Sequence[Post]) -> bool:
        """Post the answer to a subscription; False if it was not taken: see `to_subscriber`.

        Raises:
            ConnectionGone: the client has left, or its `$connect` has not returned yet.
        """
        began = self.clock()
        try:
            self._post_all(connection, posts)
        except _TooSlow:
            if self._is_to_blame(connection, began):
                self._disconnect(connection)
            return False
        return True

    def _is_to_blame(self, slow: ConnectionId, since: datetime) -> bool:
        """Whether the client is slow, and not the account throttled."""
        if not self.tries.is_throttled(slow, since):
            return True
        self.metrics.record(Metric.UPDATES_THROTTLED)
        _log.warning("posts throttled", extra={"action": "posts_throttled"})
        return False

    def _post_all(self, connection: ConnectionId, posts: Sequence[Post]) -> None:
        for post in posts:
            if post.must_arrive:
                self._post_patiently(connection, post)
            else:
                self._post_once(connection, post)

    def _try(self, connection: ConnectionId, post: Post) -> None:
        """Post once, and remember whether the socket took it."""
        try:
            self.sockets.post(connection, post.body)
        except Unavailable:
            self.tries.note(self.clock(), connection, taken=False)
            raise
        self.tries.note(self.clock(), connection, taken=True)

    def _post_once(self, connection: ConnectionId, post: Post) -> None:
        try:
            self._try(connection, post)
        except Unavailable:  # a later message replaces this one
            extra = {"action": "progress_dropped", "job_id": post.job_id}
            _log.info("progress dropped", extra=extra)

    def _post_patiently(self, connection: ConnectionId, post: Post) -> None:
        give_up_at = self.clock() + PATIENCE
        for n in range(1, MAX_TRIES + 1):
            try:
                return self._try(connection, post)
            except Unavailable as error:
                if n == MAX_TRIES or self.clock() >= give_up_at:
                    raise _TooSlow from error
                self.sleep(random.uniform(0.5, 1) * RETRY_SECONDS * 2 ** (n - 1))
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
