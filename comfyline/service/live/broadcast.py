"""Post a job's messages to its subscribers, side by side, in one function or in several.

up to AUDIENCE subscribers:   pusher ──> sockets
more:                         pusher ──> a function for each AUDIENCE of them ──> sockets
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from comfyline.contract.ids import JobId
from comfyline.service.errors import Unavailable
from comfyline.service.live.delivery import Delivery, Post, clean_up
from comfyline.service.live.sockets import ConnectionStore, Subscriber
from comfyline.service.metrics import Metric, Metrics

# One function posts to so many within some two seconds, most of which its CPU spends on TLS.
AUDIENCE = 250
# Lambda takes 1 MB in an asynchronous call. The rest is for the ids of the subscribers, and for
# the quotes in the messages, which take two characters each.
MAX_CALL_BYTES = 400_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages of one job for some of its subscribers. `is_end`: the job has ended."""

    job_id: JobId
    subscribers: Sequence[Subscriber]
    posts: Sequence[Post]
    is_end: bool


class Relay(Protocol):
    """Lets other functions post chunks."""

    def send(self, chunk: Chunk) -> None:
        """Call a function that posts the chunk, and do not wait for it.

        Raises:
            Unavailable: the call was not accepted.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """Posts the messages of one job to its subscribers.

    `executor` runs one delivery for each subscriber. Deliveries spend their time waiting for the
    network, and none waits for another task of the executor.
    """

    connections: ConnectionStore
    delivery: Delivery
    metrics: Metrics
    executor: Executor
    relay: Relay | None = None  # None: every chunk is posted here

    def send(self, chunk: Chunk) -> int:
        """Post everything, or let other functions do so; returns the number of messages posted.

        Raises:
            Unavailable: some functions could not be called; the same call may be repeated.
        """
        if self.relay is None or len(chunk.subscribers) <= AUDIENCE:
            return self.post(chunk)
        failed = [*filter(None, self.executor.map(self._relay, _parts(chunk)))]
        if failed:
            raise Unavailable(f"{len(failed)} chunks of {chunk.job_id} not sent")
        return 0

    def _relay(self, part: Chunk) -> Unavailable | None:
        assert self.relay is not None  # send has looked
        try:
            self.relay.send(part)
        except Unavailable as error:
            return error
        return None

    def post(self, chunk: Chunk) -> int:
        """Post to all subscribers side by side; returns the number of messages posted."""
        to_subscriber, posts = self.delivery.to_subscriber, chunk.posts
        delivered = self.executor.map(lambda s: to_subscriber(s, posts), chunk.subscribers)
        reached = [s for s, all_ in zip(chunk.subscribers, delivered, strict=True) if all_]
        if chunk.is_end:
            self._unsubscribe(chunk.job_id, reached)
        if sent := len(posts) * len(reached):
            self.metrics.record(Metric.UPDATES_SENT, sent)
        return sent

    def _unsubscribe(self, job_id: JobId, subscribers: Sequence[Subscriber]) -> None:
        """Delete the subscriptions after all deliveries, so that no delivery waits for a delete."""
        unsubscribe = self.connections.unsubscribe
        actions = [lambda s=s: unsubscribe(s.id, job_id) for s in subscribers]
        list(self.executor.map(clean_up, actions))


def _parts(chunk: Chunk) -> list[Chunk]:
    posts = _newest(chunk.posts)
    starts = range(0, len(chunk.subscribers), AUDIENCE)
    groups = [chunk.subscribers[start : start + AUDIENCE] for start in starts]
    return [Chunk(chunk.job_id, group, posts, chunk.is_end) for group in groups]


def _newest(posts: Sequence[Post]) -> Sequence[Post]:
    """The newest messages that fit into a call; the end of a job is the last one.

    A client that misses the message of a file finds the file in the end, or reads the job.
    """
    size, first = 0, len(posts)
    while first and size + len(posts[first - 1].body) <= MAX_CALL_BYTES:
        first -= 1
        size += len(posts[first].body)
    return posts[first:]
