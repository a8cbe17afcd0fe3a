"""Rounds of the scaler on a fleet in memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from comfyline.adapters.memory.fleet import InMemoryFleet, InMemoryScalingMemory
from comfyline.service.fleet.scale import Scaler
from comfyline.service.fleet.scaling import Need, ScalingPolicy
from tests.support.world import World

POLICY = ScalingPolicy(
    max_workers=5,
    job_seconds=10,
    target_wait_seconds=20,
    boot_seconds=60,
    quiet_seconds=120,
)


class ScaledWorld(World):
    """The service in memory, with a fleet and its scaler."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = InMemoryFleet()
        self.memory = InMemoryScalingMemory()

    @property
    def scaler(self) -> Scaler:
        return Scaler(
            backlog=self.queue,
            fleet=self.fleet,
            memory=self.memory,
            policy=POLICY,
            clock=self.clock,
        )

    def finish_all(self) -> None:
        for ticket in self.tickets():
            self.queue.delete(ticket)


@pytest.fixture
def world() -> ScaledWorld:
    return ScaledWorld()


def test_a_round_of_an_idle_fleet_writes_nothing(world: ScaledWorld) -> None:
    scaled = world.scaler.scale()
    assert scaled is not None
    assert (scaled.workers, scaled.resized) == (0, False)
    assert world.memory.load().version == 0


def test_the_fleet_grows_at_once_and_shrinks_after_the_quiet_time(world: ScaledWorld) -> None:
    for _ in range(6):
        world.queued()
    world.scaler.scale()
    assert world.fleet.size().desired == 3
    world.finish_all()
    world.clock.advance(119)
    world.scaler.scale()
    assert world.fleet.size().desired == 3
    world.clock.advance(1)
    world.scaler.scale()
    assert world.fleet.size().desired == 0


def test_new_jobs_wake_an_idle_fleet_before_the_queue_counts_them(world: ScaledWorld) -> None:
    scaled = world.scaler.scale(arrived=4)
    assert scaled is not None
    assert scaled.resized
    assert world.fleet.size().desired == 2


def test_new_jobs_do_not_resize_a_busy_fleet(world: ScaledWorld) -> None:
    world.queued()
    world.scaler.scale()
    for _ in range(9):
        world.queued()
    assert world.scaler.scale(arrived=9) is None
    assert world.fleet.size().desired == 1


def test_new_jobs_resize_the_fleet_if_the_schedule_has_stopped(world: ScaledWorld) -> None:
    world.queued()
    world.scaler.scale()
    world.fleet.resize(0)  # and then the schedule stops
    world.clock.advance(121)
    assert world.scaler.scale(arrived=1) is not None
    assert world.fleet.size().desired == 1


def test_the_next_round_resizes_the_fleet_if_a_round_dies_before_it_does(
    world: ScaledWorld,
) -> None:
    for _ in range(2):
        world.queued()
    world.scaler.scale()
    world.fleet.resize(0)  # as if the call was lost, or a deployment has reset the count
    world.clock.advance(60)
    world.scaler.scale()
    assert world.fleet.size().desired == 1


class Overtaken(InMemoryScalingMemory):
    """A memory in which another round has always saved first."""

    def save(self, needs: Sequence[Need], version: int) -> bool:
        return False


def test_a_round_that_was_overtaken_does_not_resize_the_fleet(world: ScaledWorld) -> None:
    world.memory = Overtaken()
    for _ in range(2):
        world.queued()
    assert world.scaler.scale() is None
    assert world.fleet.size().desired == 0
