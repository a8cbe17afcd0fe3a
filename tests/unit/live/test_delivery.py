"""Clients that have left or are slow: they delay no other subscriber."""

from __future__ import annotations

from datetime import timedelta

from comfyline.adapters.memory.live import InMemorySockets
from comfyline.contract.ids import ConnectionId
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
