"""Crowds at full size: each client is a thread with real use cases below it and ports in memory.

What tests/e2e/test_live.py does at the pace of an emulator, at the pace of this machine's cores.
"""

from __future__ import annotations

import itertools
import queue
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.live import InMemoryConnectionStore
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.api.v1.messages import MessageEncoder
from comfyline.client.sieve import Sieve
from comfyline.contract.ids import ConnectionId, KeyId
from comfyline.contract.v1.socket import ErrorMessage, JobMessage, PongMessage, server_message
from comfyline.service.errors import ConnectionGone
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.decide import on_interruption
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.progress import Progress
from comfyline.service.live.delivery import Delivery
from comfyline.service.live.follow import Follower
from comfyline.service.live.notify import Notifier
from comfyline.service.live.sockets import CONNECTION_LIFETIME, Connection
from tests.support.builders import a_job, random_worker_id
from tests.support.eventually import eventually_now
from tests.support.hearing import (
    Messages,
    assert_each_once_in_order,
    assert_no_state_missed,
    assert_progress_never_falls,
    passed_through,
    states,
)

SOCKETS = 300
CLIENTS = 50
CUTS = 6
PATIENCE_SECONDS = 30.0

Mailbox = queue.SimpleQueue[bytes | None]  # None: the connection is broken


class Gateway:
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

    def has(self, names: str, count: int) -> bool:
        """So many connections are open whose name begins so."""
        with self._lock:
            return sum(name.startswith(names) for name in self._boxes) >= count

    def cut(self, names: str) -> int:
        """Break every connection whose name begins so; how many there were."""
        with self._lock:
            broken = [name for name in self._boxes if name.startswith(names)]
        for name in broken:
            self.close(name)
        return len(broken)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class World:
    """One job, a stream that pushes its changes, and who follows it."""

    posts: ThreadPoolExecutor
    clients: ThreadPoolExecutor
    stream: queue.SimpleQueue[Change | None] = field(default_factory=queue.SimpleQueue)
    connections: InMemoryConnectionStore = field(default_factory=InMemoryConnectionStore)
    gateway: Gateway = field(default_factory=Gateway)
    metrics: InMemoryMetrics = field(default_factory=InMemoryMetrics)
    job: Job = field(default_factory=a_job)
    names: Iterator[int] = field(default_factory=itertools.count)
    answered: set[str] = field(default_factory=set)  # names of connections

    def __post_init__(self) -> None:
        self.rows = InMemoryJobStore(on_change=self.stream.put)
        self.job = a_job(queued_at=now(), start_deadline=now() + timedelta(hours=1))
        assert self.rows.add(self.job) is None

    @property
    def notifier(self) -> Notifier:
        return Notifier(
            jobs=self.rows,
            connections=self.connections,
            delivery=Delivery(
                connections=self.connections,
                sockets=self.gateway,
                metrics=self.metrics,
                clock=now,
            ),
            encode=MessageEncoder(InMemoryArtifactStore(), now),
            metrics=self.metrics,
            clock=now,
            executor=self.posts,
        )

    @property
    def follower(self) -> Follower:
        return Follower(
            jobs=self.rows, connections=self.connections, notifier=self.notifier, clock=now
        )

    def push(self) -> None:
        """What the stream brings, in batches, until it ends."""
        ends = False
        while not ends:
            batch = [self.stream.get(timeout=PATIENCE_SECONDS)]
            while not self.stream.empty():
                batch.append(self.stream.get())
            ends = batch[-1] is None
            if changes := [change for change in batch if change is not None]:
                self.notifier.notify(changes)

    def happens(self, *events: Callable[[Job], ev.Event]) -> None:
        """What workers do."""
        for event in events:
            current = self.rows.get(self.job.id)
            assert current is not None
            self.rows.save(current, advance(current, event(current), now()))

    def joined(self, count: int, name: str = "sure") -> list[Future[Messages]]:
        """So many more clients, each of which hears the job to its end."""
        return [self.clients.submit(self._hear, name) for _ in range(count)]

    def _hear(self, name: str) -> Messages:
        sieve, told = Sieve(self.job.id), list[JobMessage]()
        while not sieve.ended:
            connection = ConnectionId(f"{name}-{next(self.names)}")
            box = self.gateway.open(connection)
            ends = now() + CONNECTION_LIFETIME
            self.connections.open(Connection(connection, self.job.owner, KeyId("k"), ends))
            sieve.subscribed()
            try:
                after = sieve.version if sieve.version >= 0 else None
                self.follower.follow(connection, self.job.id, after=after)
            except ConnectionGone:
                pass  # cut, or hung up on: what has come is still to be read
            self.answered.add(connection)
            told += self._sifted(box, sieve)
            sieve.unsubscribed()
        return told

    def _sifted(self, box: Mailbox, sieve: Sieve) -> Iterator[JobMessage]:
        while not sieve.ended and (raw := box.get(timeout=PATIENCE_SECONDS)) is not None:
            message = server_message.validate_json(raw)
            assert not isinstance(message, ErrorMessage | PongMessage)
            yield from sieve.take(message)


@pytest.fixture
def world() -> Iterator[World]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads meet in the middle of everything
    with (
        ThreadPoolExecutor(32) as posts,
        ThreadPoolExecutor(SOCKETS) as clients,
        ThreadPoolExecutor(1) as stream,
    ):
        made = World(posts, clients)
        pushing = stream.submit(made.push)
        try:
            yield made
        finally:
            made.stream.put(None)
            made.gateway.cut("")
        pushing.result(PATIENCE_SECONDS)
    sys.setswitchinterval(interval)


def claim(_job: Job) -> ev.Event:
    until = now() + timedelta(hours=1)
    return ev.Claimed(worker_id=random_worker_id(), lease_expires_at=until)


def start(job: Job) -> ev.Event:
    return ev.Started(attempt=job.attempt)


def at(fraction: float) -> Callable[[Job], ev.Event]:
    progress = Progress(fraction=fraction)
    return lambda job: ev.Progressed(attempt=job.attempt, progress=progress)


def interrupt(job: Job) -> ev.Event:
    return on_interruption(job, job.attempt)


def succeed(job: Job) -> ev.Event:
    return ev.Succeeded(attempt=job.attempt)


def all_told(hears: Sequence[Future[Messages]]) -> list[Messages]:
    told = [each.result(PATIENCE_SECONDS) for each in hears]
    for messages in told:
        assert_each_once_in_order(messages)
        assert_progress_never_falls(messages)
    return told


@pytest.mark.parametrize("there", [0, SOCKETS // 2, SOCKETS - 20])
def test_sockets_opened_around_the_end_are_each_told_done_once(world: World, there: int) -> None:
    world.happens(claim, start, at(0.5))
    hears = world.joined(SOCKETS)
    eventually_now(lambda: len(world.answered) >= there, within=PATIENCE_SECONDS, every=0.001)
    world.happens(at(0.9), succeed)
    for messages in all_told(hears):
        assert states(messages)[-1][1] == "succeeded"


@pytest.mark.parametrize("seed", range(3))
def test_joins_and_cuts_in_the_middle_miss_no_state_and_repeat_none(
    world: World, seed: int
) -> None:
    chance = random.Random(seed)
    world.happens(claim, start)
    truth = world.joined(1)
    shaken, joined = world.joined(CLIENTS, "shaken"), list[Future[Messages]]()
    cuts = 0
    for n in range(CUTS):
        half = partial(world.gateway.has, "shaken", CLIENTS // 2)
        eventually_now(half, within=PATIENCE_SECONDS, every=0.001)
        joined += world.joined(CLIENTS // CUTS + 1)
        fractions = sorted((chance.random() + n % 2) / 2 for _ in range(20))
        world.happens(*map(at, fractions))
        cuts += world.gateway.cut("shaken")
        if n % 2:
            world.happens(interrupt, claim, start)  # states change while nobody is there
    world.happens(succeed)
    reference, *others = all_told([*truth, *shaken, *joined])
    assert cuts >= CLIENTS
    assert {attempt for _, _, attempt in states(reference)} == {1, 2, 3, 4}
    assert len(passed_through(reference)) >= 10
    for messages in others:
        assert_no_state_missed(messages, reference)
