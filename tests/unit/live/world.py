"""Sockets, jobs and the service between them, on ports in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

from comfyline.adapters.memory.live import InMemorySockets
from comfyline.contract.ids import ConnectionId
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.job import Job
from tests.support.builders import FrozenClock, an_artifact
from tests.support.happenings import Happening
from tests.support.subscribers import FollowedDeployment


class FollowedWorld(FollowedDeployment):
    """The sockets and jobs of one owner. `push` delivers what the stream has collected."""

    clock: FrozenClock
    sockets: InMemorySockets

    def __init__(self, executor: Executor) -> None:
        clock = FrozenClock()
        self.stream: list[Change] = []
        super().__init__(
            clock,
            sockets=InMemorySockets(),
            on_change=self.stream.append,
            executor=executor,
            sleep=clock.advance,
        )

    def subscribed(self, **overrides: Any) -> Job:
        """A queued job with one subscriber, which has received its snapshot."""
        job = self.queued(**overrides)
        self.subscriptions.subscribe(self.socket(), job.id)
        self.received()
        return job

    def stored(self, count: int) -> Happening:
        """The worker lists this number of files of its attempt and then announces them."""

        def event(job: Job) -> ev.Event:
            listed = [an_artifact(job, n) for n in range(count)]
            self.store.list_stored(job, listed, known=job.stored)
            return ev.Stored(attempt=job.attempt, count=count)

        return event

    def push(self) -> int:
        """The stream delivers its records to the notifier; returns the number of posts."""
        changes = self.stream[:]
        self.stream.clear()
        return self.notifier.notify(changes) if changes else 0

    def received(self, socket: str = "c1") -> list[Any]:
        """The messages that arrived at the client since the last call."""
        return [json.loads(body) for body in self.sockets.sent.pop(ConnectionId(socket), [])]


def states(messages: Sequence[Any]) -> list[tuple[Any, ...]]:
    """(type, status or progress, version) of each message."""
    return [(m["type"], m.get("status", m.get("progress")), m["version"]) for m in messages]


def files(messages: Sequence[Any]) -> list[tuple[int, int, int]]:
    """(version, part, number) of each file."""
    return [(m["version"], m["part"], m["number"]) for m in messages if m["type"] == "artifact"]


def previews(messages: Sequence[Any]) -> list[str | None]:
    """The preview of each progress message, or None."""
    return [m.get("preview") for m in messages if m["type"] == "progress"]
