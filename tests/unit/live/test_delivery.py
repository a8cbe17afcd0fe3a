"""Clients that have left or are slow: they delay no other subscriber."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.adapters.memory.live import InMemorySockets
from comfyline.contract.ids import ConnectionId
from comfyline.service.jobs.job import Job
from comfyline.service.live.delivery import CONNECT_GRACE, MAX_TRIES, PATIENCE
from comfyline.service.metrics import Metric
from tests.support.happenings import at, claim, start
from tests.unit.live.world import FollowedWorld, states


def test_the_connection_of_a_client_that_left_is_deleted(world: FollowedWorld) -> None:
    job = world.queued()
    for name in ("open", "gone"):
        world.subscriptions.subscribe(world.socket(name), job.id)
    world.sockets.gone.add(ConnectionId("gone"))
    world.clock.advance(CONNECT_GRACE + timedelta(seconds=1))
    world.happens(job, claim)
    world.push()
    assert [s.id for s in world.connections.subscribers(job.id, world.clock())] == ["open"]
    assert world.connections.get(ConnectionId("gone")) is None
    assert world.metrics.sum(Metric.FOLLOWERS_GONE) == 1
    assert world.metrics.sum(Metric.UPDATES_SENT) == 1
    assert states(world.received("open"))[-1] == ("status", "queued", 2)


def test_a_slow_client_loses_progress_and_stays_connected(world: FollowedWorld) -> None:
    socket, job = world.socket(), world.queued()
    world.happens(job, claim, start)
    world.stream.clear()
    world.subscriptions.subscribe(socket, job.id)
    world.received()
    world.sockets.slow.add(socket)
    world.happens(job, at(0.3))
    world.push()
    world.sockets.slow.clear()
    world.happens(job, at(0.6))
    world.push()
    assert states(world.received()) == [("progress", 0.6, 5)]
    assert world.sockets.closed == set()


def test_a_client_that_does_not_take_a_state_in_three_tries_is_disconnected(
    world: FollowedWorld,
) -> None:
    tries = []

    class Slow(InMemorySockets):
        def post(self, connection_id: ConnectionId, message: bytes) -> None:
            if connection_id in self.slow:
                tries.append(connection_id)
            super().post(connection_id, message)

    world.sockets = Slow()
    job = world.queued()
    for name in ("quick", "slow"):
        world.subscriptions.subscribe(world.socket(name), job.id)
    world.sockets.slow.add(ConnectionId("slow"))
    world.happens(job, claim)
    before = world.clock()
    world.push()
    assert len(tries) == MAX_TRIES
    assert world.clock() - before <= PATIENCE
    assert world.sockets.closed == {"slow"}
    assert world.metrics.sum(Metric.FOLLOWERS_SLOW) == 1
    assert [s.id for s in world.connections.subscribers(job.id, world.clock())] == ["quick"]
    assert states(world.received("quick"))[-1] == ("status", "queued", 2)


class TestThrottle:
    """API Gateway gives one answer for a slow client and for an account that calls too often."""

    def followed(self, world: FollowedWorld, sockets: int) -> Job:
        job = world.queued()
        for n in range(sockets):
            world.subscriptions.subscribe(world.socket(f"c{n}"), job.id)
        world.sockets.sent.clear()
        world.stream.clear()
        return job

    @pytest.mark.parametrize("sockets", [1, 2, 40])
    def test_nobody_is_disconnected_while_no_socket_takes_its_messages(
        self, world: FollowedWorld, sockets: int
    ) -> None:
        job = self.followed(world, sockets)
        everyone = {ConnectionId(f"c{n}") for n in range(sockets)}
        world.sockets.slow |= everyone
        world.happens(job, claim)
        assert world.push() == 0
        assert world.sockets.closed == set()
        assert world.metrics.sum(Metric.UPDATES_THROTTLED) == sockets
        world.sockets.slow.clear()
        world.happens(job, start)
        assert world.push() == sockets

    def test_a_slow_client_among_many_is_disconnected_alone(self, world: FollowedWorld) -> None:
        job = self.followed(world, 40)
        world.sockets.slow.add(ConnectionId("c7"))
        world.happens(job, claim)
        assert world.push() == 39
        assert world.sockets.closed == {"c7"}

    def test_what_was_taken_before_the_throttle_does_not_count(self, world: FollowedWorld) -> None:
        job = self.followed(world, 20)
        tries = world.broadcast.delivery.tries
        for _ in range(900):
            tries.note(world.clock(), ConnectionId("c1"), taken=True)
        world.clock.advance(1)
        since = world.clock()
        for n in range(10):
            tries.note(since, ConnectionId(f"c{n}"), taken=False)
        assert tries.is_throttled(ConnectionId("c3"), since)
        assert job.id

    def test_the_answer_to_a_subscription_disconnects_nobody_either(
        self, world: FollowedWorld
    ) -> None:
        socket, job = world.socket(), world.queued()
        world.sockets.slow.add(socket)
        world.subscriptions.subscribe(socket, job.id)
        assert world.sockets.closed == set()
        assert [s.id for s in world.connections.subscribers(job.id, world.clock())] == [socket]
