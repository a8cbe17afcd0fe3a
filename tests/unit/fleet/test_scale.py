"""Rounds of the scaler on a fleet in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from comfyline.adapters.memory.fleet import InMemoryFleet, InMemoryScalingMemory
from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.service.fleet.scale import Scaler
from comfyline.service.fleet.scaling import Need, ScalingPolicy
from comfyline.service.queue.lanes import Priority
from tests.support.builders import FrozenClock, a_job

POLICY = ScalingPolicy(
    max_workers=5,
    job_seconds=10,
    target_wait_seconds=20,
    boot_seconds=60,
    quiet_seconds=120,
)


class World:
    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.queue = InMemoryJobQueue(self.clock)
        self.fleet = InMemoryFleet()
        self.memory = InMemoryScalingMemory()
        self.scaler = Scaler(
            backlog=self.queue,
            fleet=self.fleet,
            memory=self.memory,
            policy=POLICY,
            clock=self.clock,
        )

    def submit(self, jobs: int) -> None:
        for _ in range(jobs):
            job = a_job()
            self.queue.send(job.id, job.owner, Priority.NORMAL)

    def finish_all(self) -> None:
        for ticket in self.queue.receive(Priority.NORMAL, wait_seconds=0, limit=100):
            self.queue.delete(ticket)

    def pass_time(self, seconds: int) -> None:
        self.clock.now += timedelta(seconds=seconds)


def test_a_round_of_an_idle_fleet_writes_nothing() -> None:
    world = World()
    scaled = world.scaler.scale()
    assert scaled is not None
    assert (scaled.workers, scaled.resized) == (0, False)
    assert world.memory.load().version == 0


def test_the_fleet_grows_at_once_and_shrinks_after_the_quiet_time() -> None:
    world = World()
    world.submit(6)
    world.scaler.scale()
    assert world.fleet.size().desired == 3
    world.finish_all()
    world.pass_time(119)
    world.scaler.scale()
    assert world.fleet.size().desired == 3
    world.pass_time(1)
    world.scaler.scale()
    assert world.fleet.size().desired == 0


def test_new_jobs_wake_an_idle_fleet_before_the_queue_counts_them() -> None:
    world = World()
    scaled = world.scaler.scale(arrived=4)
    assert scaled is not None
    assert scaled.resized
    assert world.fleet.size().desired == 2


def test_new_jobs_do_not_resize_a_busy_fleet() -> None:
    world = World()
    world.submit(1)
    world.scaler.scale()
    world.submit(9)
    assert world.scaler.scale(arrived=9) is None
    assert world.fleet.size().desired == 1


def test_new_jobs_resize_the_fleet_if_the_schedule_has_stopped() -> None:
    world = World()
    world.submit(1)
    world.scaler.scale()
    world.fleet.resize(0)  # and then the schedule stops
    world.pass_time(121)
    assert world.scaler.scale(arrived=1) is not None
    assert world.fleet.size().desired == 1


def test_the_next_round_resizes_the_fleet_if_a_round_dies_before_it_does() -> None:
    world = World()
    world.submit(2)
    world.scaler.scale()
    world.fleet.resize(0)  # as if the call was lost, or a deployment has reset the count
    world.pass_time(60)
    world.scaler.scale()
    assert world.fleet.size().desired == 1


class Overtaken(InMemoryScalingMemory):
    """Another round has always saved first."""

    def save(self, needs: Sequence[Need], version: int) -> bool:
        return False


def test_a_round_that_was_overtaken_does_not_resize_the_fleet() -> None:
    world = World()
    world.scaler = Scaler(
        backlog=world.queue,
        fleet=world.fleet,
        memory=Overtaken(),
        policy=POLICY,
        clock=world.clock,
    )
    world.submit(2)
    assert world.scaler.scale() is None
    assert world.fleet.size().desired == 0
