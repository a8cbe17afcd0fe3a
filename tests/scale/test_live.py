"""A job with 10,000 subscribers, and a storm of throttles, on functions with one CPU each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from comfyline.adapters.memory.live import InMemorySockets
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.contract.ids import ConnectionId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Job
from comfyline.service.live.broadcast import AUDIENCE, Broadcast, Chunk
from comfyline.service.live.delivery import Delivery, Post
from comfyline.service.live.sockets import Subscriber
from comfyline.service.metrics import Metric
from functions._live import POSTS_AT_ONCE
from tests.scale.pace import DYNAMODB, SOCKET, Pace
from tests.scale.report import Report, Row
from tests.scale.simulation import Simulation, VirtualExecutor
from tests.support.builders import NOW, a_job, succeeded

SUBSCRIBERS = 10_000
INVOKE = 0.030  # an asynchronous call of a function
START = 0.5  # of a function that must start first
CONCURRENCY = 10  # functions at once, in a new account


class ManyConnections:
    """The subscribers of one job. Each unsubscribes once."""

    def __init__(self, subscribers: int) -> None:
        long_ago = NOW - timedelta(hours=1)
        self.left = {ConnectionId(f"c{n}"): long_ago for n in range(subscribers)}
        self.closed = set[ConnectionId]()

    def subscribers(self, _job_id: str, _now: object) -> list[Subscriber]:
        return [Subscriber(connection, since) for connection, since in self.left.items()]

    def unsubscribe(self, connection: ConnectionId, _job_id: str) -> None:
        del self.left[connection]

    def close(self, connection: ConnectionId) -> None:
        self.closed.add(connection)


class Live:
    """push_updates and the functions that it calls, each with its own CPU and threads."""

    def __init__(self, simulation: Simulation, subscribers: int, concurrency: int) -> None:
        self.simulation, self.sockets = simulation, InMemorySockets()
        self.connections, self.metrics = ManyConnections(subscribers), InMemoryMetrics()
        self.waiting, self.free = list[Callable[[], None]](), concurrency
        self.told = dict[ConnectionId, float]()
        self.throttled = 0.02  # the share of posts that the gateway refuses

    def broadcast(self, pace: Pace) -> Broadcast:
        """The use case in one function."""
        connections = pace.of(self.connections, DYNAMODB, unsubscribe=2 * DYNAMODB)
        delivery = Delivery(
            connections=connections,
            sockets=Posts(self, pace),
            metrics=self.metrics,
            clock=self.simulation.clock,
            sleep=self.simulation.sleep,
        )
        return Broadcast(
            connections=connections,
            delivery=delivery,
            metrics=self.metrics,
            executor=VirtualExecutor(self.simulation, POSTS_AT_ONCE),
        )

    def push(self, job: Job, *, is_relayed: bool = True) -> None:
        """push_updates handles the end of the job."""
        pace = Pace(self.simulation)
        broadcast = self.broadcast(pace)
        if is_relayed:
            broadcast = replace(broadcast, relay=Invocations(self, pace))
        subscribers = self.connections.subscribers(job.id, None)
        pace.take("subscribers", len(subscribers) / 5_000 * DYNAMODB * 4)  # pages of 1 MB
        posts = [Post(job.id, body, must_arrive=True) for body in (b"status", b"done")]
        broadcast.send(Chunk(job.id, subscribers, posts, is_end=True))

    # --- the other functions ----------------------------------------------------------------------

    def invoke(self, chunk: Chunk) -> None:
        def run() -> None:
            self.simulation.sleep(START)
            self.broadcast(Pace(self.simulation)).post(chunk)
            self.free += 1
            self.start()

        self.waiting.append(run)
        self.start()

    def start(self) -> None:
        while self.free and self.waiting:
            self.free -= 1
            self.simulation.spawn(self.waiting.pop(0))

    def until_done(self, concurrency: int) -> None:
        while self.waiting or self.free < concurrency:
            self.simulation.sleep(0.05)


class Posts:
    """The gateway's sockets, as one function calls them. A post is tried once."""

    def __init__(self, live: Live, pace: Pace) -> None:
        self._live, self._pace = live, pace

    def post(self, connection: ConnectionId, message: bytes) -> None:
        live = self._live
        self._pace.compute()
        live.simulation.sleep(SOCKET * live.simulation.random.uniform(0.7, 1.3))
        if live.simulation.random.random() < live.throttled:
            raise Unavailable("throttled")
        live.sockets.post(connection, message)
        if message == b"done":
            live.told[connection] = live.simulation.seconds

    def close(self, connection: ConnectionId) -> None:
        self._live.sockets.close(connection)


class Invocations:
    """Lambda's asynchronous calls."""

    def __init__(self, live: Live, pace: Pace) -> None:
        self._live, self._pace = live, pace

    def send(self, chunk: Chunk) -> None:
        self._pace.take("invoke", INVOKE)
        self._live.invoke(chunk)


def an_end() -> Job:
    return succeeded(a_job())


def test_10_000_subscribers_of_one_job_are_told_its_end(report: Report) -> None:
    simulation = Simulation()
    live = Live(simulation, SUBSCRIBERS, CONCURRENCY)

    def push() -> None:
        live.push(an_end())
        live.until_done(CONCURRENCY)

    simulation.run(push)
    load = f"live: {SUBSCRIBERS} subscribers of one job, {CONCURRENCY} functions at once"
    # A removal of which AWS throttles every try is not repeated: the TTL removes the row.
    left = live.connections.left.keys() & live.told.keys()
    report.check(
        Row(load, "the last one gets the end", max(live.told.values()), 10, "s"),
        # A client of which AWS throttles every try is disconnected, connects again, and asks.
        Row(load, "subscribers told", len(live.told), SUBSCRIBERS - 5, "", is_minimum=True),
        Row(load, "until the subscriptions are deleted", simulation.seconds, 20, "s"),
        Row(load, "subscriptions of subscribers told that are left", len(left), 5, ""),
    )
    assert live.sockets.closed.isdisjoint(live.told)


def test_one_function_alone_is_too_slow(report: Report) -> None:
    """Why there are two levels."""
    simulation = Simulation()
    live = Live(simulation, SUBSCRIBERS // 5, CONCURRENCY)
    simulation.run(lambda: live.push(an_end(), is_relayed=False))
    load = f"live: {SUBSCRIBERS // 5} subscribers, one function"
    report.check(Row(load, "the last one gets the end", max(live.told.values()), 1, "s", True))


def test_a_storm_of_throttles_hangs_nobody_up(report: Report) -> None:
    for share in (0.5, 0.9, 1.0):
        simulation = Simulation()
        live = Live(simulation, 2 * AUDIENCE, CONCURRENCY)
        live.throttled = share

        def push(live: Live = live) -> None:
            live.push(an_end())
            live.until_done(CONCURRENCY)

        simulation.run(push)
        load = f"live: {100 * share:.0f} % of the posts throttled"
        report.check(Row(load, "clients disconnected", len(live.sockets.closed), 0, ""))
        missed = live.metrics.sum(Metric.UPDATES_THROTTLED)
        assert missed >= 2 * AUDIENCE - len(live.told)


def test_few_throttles_reach_everybody(report: Report) -> None:
    simulation = Simulation()
    live = Live(simulation, 2 * AUDIENCE, CONCURRENCY)
    live.throttled = 0.2

    def push() -> None:
        live.push(an_end())
        live.until_done(CONCURRENCY)

    simulation.run(push)
    load = "live: 20 % of the posts throttled"
    lost = 2 * AUDIENCE - len(live.told)
    report.check(Row(load, "clients that must poll, of 500", lost, 25, ""))
