"""Hundreds of subscribers of one job, on ports in memory; each is a thread that calls use cases.

tests/e2e/test_live.py does the same through an emulator, which is slower and allows fewer clients.
"""

from __future__ import annotations

import itertools
import queue
import random
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

from comfyline.client.sieve import Sieve
from comfyline.contract.ids import ConnectionId
from comfyline.contract.v1.socket import ErrorMessage, JobMessage, PongMessage, server_message
from comfyline.service.errors import ConnectionGone
from comfyline.service.jobs.change import Change
from tests.support.builders import now
from tests.support.eventually import eventually_now
from tests.support.happenings import at, claim, interrupt, start, succeed
from tests.support.hearing import (
    Messages,
    assert_each_once_in_order,
    assert_no_state_missed,
    assert_progress_never_falls,
    passed_through,
    states,
)
from tests.support.subscribers import FollowedDeployment

SOCKETS = 300
CLIENTS = 50
CUTS = 6
PATIENCE_SECONDS = 30.0

Mailbox = queue.SimpleQueue[bytes | None]  # None: the connection is broken


class MailboxSockets:
    """`Sockets` with a mailbox at the other end of each connection."""

    def __init__(self) -> None:
        self._boxes: dict[ConnectionId, Mailbox] = {}
        self._lock = threading.Lock()

    def open(self, name: ConnectionId) -> Mailbox:
        with self._lock:
            return self._boxes.setdefault(name, queue.SimpleQueue())

    def post(self, connection_id: ConnectionId, message: bytes) -> None:
        with self._lock:
            if connection_id not in self._boxes:
                raise ConnectionGone(connection_id)
            self._boxes[connection_id].put(message)

    def close(self, connection_id: ConnectionId) -> None:
        with self._lock:
            if box := self._boxes.pop(connection_id, None):
                box.put(None)

    def has(self, prefix: str, count: int) -> bool:
        """Whether at least `count` connections with this prefix in their name are open."""
        with self._lock:
            return sum(name.startswith(prefix) for name in self._boxes) >= count

    def cut(self, prefix: str) -> int:
        """Break every connection with this prefix in its name, and return their number."""
        with self._lock:
            broken = [name for name in self._boxes if name.startswith(prefix)]
        for name in broken:
            self.close(name)
        return len(broken)


class Crowd(FollowedDeployment):
    """One job, a stream that delivers its changes, and clients that follow the job."""

    sockets: MailboxSockets

    def __init__(self, posts: ThreadPoolExecutor, clients: ThreadPoolExecutor) -> None:
        self.stream = queue.SimpleQueue[Change | None]()  # None: the stream ends
        super().__init__(now, sockets=MailboxSockets(), on_change=self.stream.put, executor=posts)
        self.job = self.queued()
        self.answered = set[str]()  # names of the connections with an answered subscription
        self._clients, self._numbers = clients, itertools.count()

    def push(self) -> None:
        """Deliver what the stream has collected, in batches, until the stream ends."""
        has_ended = False
        while not has_ended:
            batch = [self.stream.get(timeout=PATIENCE_SECONDS)]
            while not self.stream.empty():
                batch.append(self.stream.get())
            has_ended = batch[-1] is None
            if changes := [change for change in batch if change is not None]:
                self.notifier.notify(changes)

    def join(self, count: int, name: str = "sure") -> list[Future[Messages]]:
        """Start this number of further clients; each listens until the job has ended."""
        return [self._clients.submit(self._listen, name) for _ in range(count)]

    def _listen(self, name: str) -> Messages:
        """One client, which connects again after each cut; returns what it received."""
        sieve, received = Sieve(self.job.id), list[JobMessage]()
        while not sieve.ended:
            connection = self.socket(f"{name}-{next(self._numbers)}")
            box = self.sockets.open(connection)
            sieve.subscribed()
            with suppress(ConnectionGone):  # the messages that arrived before are still read
                after = sieve.version if sieve.version >= 0 else None
                self.subscriptions.subscribe(connection, self.job.id, after=after)
            self.answered.add(connection)
            received += self._sifted(box, sieve)
            sieve.unsubscribed()
        return received

    def _sifted(self, box: Mailbox, sieve: Sieve) -> Iterator[JobMessage]:
        while not sieve.ended and (raw := box.get(timeout=PATIENCE_SECONDS)) is not None:
            message = server_message.validate_json(raw)
            assert not isinstance(message, ErrorMessage | PongMessage)
            yield from sieve.take(message)


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that a thread is interrupted at any place
    with (
        ThreadPoolExecutor(32) as posts,
        ThreadPoolExecutor(SOCKETS) as clients,
        ThreadPoolExecutor(1) as stream,
    ):
        made = Crowd(posts, clients)
        pushing = stream.submit(made.push)
        try:
            yield made
        finally:
            made.stream.put(None)
            made.sockets.cut("")
        pushing.result(PATIENCE_SECONDS)
    sys.setswitchinterval(interval)


def received_by(clients: Sequence[Future[Messages]]) -> list[Messages]:
    """What each client received, checked."""
    received = [client.result(PATIENCE_SECONDS) for client in clients]
    for messages in received:
        assert_each_once_in_order(messages)
        assert_progress_never_falls(messages)
    return received


@pytest.mark.parametrize("there", [0, SOCKETS // 2, SOCKETS - 20])
def test_sockets_opened_around_the_end_each_receive_done_once(crowd: Crowd, there: int) -> None:
    crowd.happens(crowd.job, claim, start, at(0.5))
    clients = crowd.join(SOCKETS)
    eventually_now(lambda: len(crowd.answered) >= there, within=PATIENCE_SECONDS, every=0.001)
    crowd.happens(crowd.job, at(0.9), succeed)
    for messages in received_by(clients):
        assert states(messages)[-1][1] == "succeeded"


@pytest.mark.parametrize("seed", range(3))
def test_joins_and_cuts_in_the_middle_miss_no_state_and_repeat_none(
    crowd: Crowd, seed: int
) -> None:
    chance = random.Random(seed)
    crowd.happens(crowd.job, claim, start)
    truth = crowd.join(1)
    shaken, joined = crowd.join(CLIENTS, "shaken"), list[Future[Messages]]()
    cuts = 0
    for n in range(CUTS):
        half = partial(crowd.sockets.has, "shaken", CLIENTS // 2)
        eventually_now(half, within=PATIENCE_SECONDS, every=0.001)
        joined += crowd.join(CLIENTS // CUTS + 1)
        fractions = sorted((chance.random() + n % 2) / 2 for _ in range(20))
        crowd.happens(crowd.job, *map(at, fractions))
        cuts += crowd.sockets.cut("shaken")
        if n % 2:
            # The states change while the clients that were cut are not connected.
            crowd.happens(crowd.job, interrupt, claim, start)
    crowd.happens(crowd.job, succeed)
    reference, *others = received_by([*truth, *shaken, *joined])
    assert cuts >= CLIENTS
    assert {attempt for _, _, attempt in states(reference)} == {1, 2, 3, 4}
    assert len(passed_through(reference)) >= 10
    for messages in others:
        assert_no_state_missed(messages, reference)
