"""Sockets, jobs and the service between them, on ports in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.live import InMemoryConnectionStore, InMemorySockets
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.api.v1.messages import MessageEncoder
from comfyline.contract.ids import ConnectionId, KeyId
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.decide import on_interruption
from comfyline.service.jobs.job import Job, JobError
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.progress import Progress
from comfyline.service.live.delivery import Delivery
from comfyline.service.live.follow import Follower
from comfyline.service.live.notify import Notifier
from comfyline.service.live.sockets import CONNECTION_LIFETIME, Connection
from tests.support import builders
from tests.support.builders import NOW, FrozenClock, a_job, an_artifact, an_owner


@dataclass
class World:
    """The sockets and jobs of one owner. `push` delivers what the stream has collected."""

    executor: ThreadPoolExecutor
    clock: FrozenClock = field(default_factory=FrozenClock)
    stream: list[Change] = field(default_factory=list)
    connections: InMemoryConnectionStore = field(default_factory=InMemoryConnectionStore)
    sockets: InMemorySockets = field(default_factory=InMemorySockets)
    metrics: InMemoryMetrics = field(default_factory=InMemoryMetrics)
    owner: Any = field(default_factory=an_owner)
    jobs: InMemoryJobStore = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = InMemoryJobStore(on_change=self.stream.append)

    @property
    def notifier(self) -> Notifier:
        return Notifier(
            jobs=self.jobs,
            connections=self.connections,
            delivery=Delivery(
                connections=self.connections,
                sockets=self.sockets,
                metrics=self.metrics,
                clock=self.clock,
                sleep=self.clock.advance,
            ),
            encode=MessageEncoder(InMemoryArtifactStore(), self.clock),
            metrics=self.metrics,
            clock=self.clock,
            executor=self.executor,
        )

    @property
    def follower(self) -> Follower:
        return Follower(
            jobs=self.jobs,
            connections=self.connections,
            notifier=self.notifier,
            clock=self.clock,
            sleep=self.clock.advance,
        )

    def socket(self, name: str = "c1", owner: Any = None) -> ConnectionId:
        """An open socket."""
        end = self.clock() + CONNECTION_LIFETIME
        connection = Connection(ConnectionId(name), owner or self.owner, KeyId("k"), end)
        self.connections.open(connection)
        return connection.id

    def job(self, **overrides: Any) -> Job:
        """A queued job."""
        job = a_job(owner=self.owner, **overrides)
        assert self.jobs.add(job) is None
        return job

    def subscribed(self, **overrides: Any) -> Job:
        """A queued job with one subscriber, which has received its snapshot."""
        job = self.job(**overrides)
        self.follower.follow(self.socket(), job.id)
        self.received()
        return job

    def happens(self, job: Job, *events: Any) -> Job:
        """Workers write these events, one after another; a callable makes its event of the row."""
        current = self.jobs.get(job.id)
        for event in events:
            assert current is not None
            made = event(current) if callable(event) else event
            current = self.jobs.save(current, advance(current, made, self.clock()))
        assert current is not None
        return current

    def push(self) -> int:
        """The stream delivers its records to the notifier; returns the number of posts."""
        changes = self.stream[:]
        self.stream.clear()
        return self.notifier.notify(changes) if changes else 0

    def received(self, socket: str = "c1") -> list[Any]:
        """The messages that arrived at the client since the last call."""
        return [json.loads(body) for body in self.sockets.sent.pop(ConnectionId(socket), [])]


# --- events, for World.happens --------------------------------------------------------------------


def claim(_job: Job) -> ev.Claimed:
    until = NOW + timedelta(hours=1)
    return ev.Claimed(worker_id=builders.random_worker_id(), lease_expires_at=until)


def start(job: Job) -> ev.Started:
    return ev.Started(attempt=job.attempt)


def at(fraction: float) -> Any:
    progress = Progress(fraction=fraction, step=1, steps=2, node_type="KSampler", message="half")
    return lambda job: ev.Progressed(attempt=job.attempt, progress=progress)


def with_preview(number: int) -> Any:
    """Progress of a half, after so many previews were stored."""
    progress = Progress(fraction=0.5)
    return lambda job: ev.Progressed(attempt=job.attempt, progress=progress, previewed=number)


def stored(world: World, count: int) -> Any:
    """So many files of the attempt are listed and then announced."""

    def event(job: Job) -> ev.Stored:
        world.jobs.put_artifacts(job, [an_artifact(job, n) for n in range(count)])
        return ev.Stored(attempt=job.attempt, count=count)

    return event


def succeed(job: Job) -> ev.Succeeded:
    return ev.Succeeded(attempt=job.attempt)


def interrupt(job: Job) -> ev.Event:
    return on_interruption(job, job.attempt)


def fail_once(job: Job) -> ev.Failed:
    return ev.Failed(attempt=job.attempt, error=JobError(type="oom", message="no memory"))


# --- what a client received -----------------------------------------------------------------------


def states(messages: Sequence[Any]) -> list[tuple[Any, ...]]:
    """(type, status or progress, version) of each message."""
    return [(m["type"], m.get("status", m.get("progress")), m["version"]) for m in messages]


def files(messages: Sequence[Any]) -> list[tuple[int, int, int]]:
    """(version, part, number) of each file."""
    return [(m["version"], m["part"], m["number"]) for m in messages if m["type"] == "artifact"]


def previews(messages: Sequence[Any]) -> list[str | None]:
    """The preview of each progress message, or None."""
    return [m.get("preview") for m in messages if m["type"] == "progress"]
