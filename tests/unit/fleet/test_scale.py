"""Rounds of the scaler on a fleet in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.fleet import (
    InMemoryFleet,
    InMemoryPresenceStore,
    InMemoryScalingMemory,
)
from comfyline.contract.ids import random_worker_id
from comfyline.service.fleet.capacity import Capacity, Sizes
from comfyline.service.fleet.scale import CRASH_LOOP, Scaler
from comfyline.service.fleet.scaling import Reason, ScalingPolicy
from comfyline.service.fleet.workers import Presence, Recent
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
        self.presence = InMemoryPresenceStore()
        self.memory = InMemoryScalingMemory()

    @property
    def scaler(self) -> Scaler:
        return Scaler(
            backlog=self.queue,
            fleet=self.fleet,
            presence=self.presence,
            memory=self.memory,
            policy=POLICY,
            clock=self.clock,
        )

    @property
    def desired(self) -> Sizes:
        size = self.fleet.size()
        assert size is not None
        return size.desired

    def wait(self, jobs: int) -> None:
        for _ in range(jobs):
            self.queued()

    def reports(self, workers: int, **said: Any) -> None:
        """Let this many workers report that they are up, with the values in `said`."""
        until = self.clock() + timedelta(minutes=1)
        for _ in range(workers):
            self.presence.put(Presence(random_worker_id(), 0, until, **said))

    def finish_all(self) -> None:
        for ticket in self.tickets():
            self.queue.delete(ticket)


@pytest.fixture
def world() -> ScaledWorld:
    return ScaledWorld()


def test_a_round_of_an_idle_fleet_writes_nothing(world: ScaledWorld) -> None:
    scaled = world.scaler.scale()
    assert scaled is not None
    assert (scaled.asked, scaled.resized) == (Sizes(), False)
    assert world.memory.load().version == 0


def test_the_fleet_grows_at_once_and_shrinks_after_the_quiet_time(world: ScaledWorld) -> None:
    world.wait(6)
    world.scaler.scale()
    assert world.desired == Sizes(ondemand=1, spot=2)
    world.finish_all()
    world.clock.advance(119)
    world.scaler.scale()
    assert world.desired.total == 3
    world.clock.advance(1)
    world.scaler.scale()
    assert world.desired.total == 0


def test_new_jobs_wake_an_idle_fleet_before_the_queue_counts_them(world: ScaledWorld) -> None:
    scaled = world.scaler.scale(arrived=4)
    assert scaled is not None
    assert scaled.resized
    assert world.desired == Sizes(ondemand=1, spot=1)


def test_new_jobs_do_not_resize_a_busy_fleet(world: ScaledWorld) -> None:
    world.wait(1)
    world.scaler.scale()
    world.wait(9)
    assert world.scaler.scale(arrived=9) is None
    assert world.desired.total == 1


def test_new_jobs_resize_the_fleet_if_the_schedule_has_stopped(world: ScaledWorld) -> None:
    world.wait(1)
    world.scaler.scale()
    world.fleet.resize(Capacity.ONDEMAND, 0)  # and then the schedule stops
    world.clock.advance(121)
    assert world.scaler.scale(arrived=1) is not None
    assert world.desired.total == 1


def test_the_next_round_resizes_the_fleet_if_a_round_dies_before_it_does(
    world: ScaledWorld,
) -> None:
    world.wait(2)
    world.scaler.scale()
    world.fleet.resize(Capacity.ONDEMAND, 0)  # as if a deployment has reset the count
    world.clock.advance(60)
    world.scaler.scale()
    assert world.desired.total == 1


class Overtaken(InMemoryScalingMemory):
    """A memory in which another round has always saved first."""

    def save(self, recent: Recent) -> bool:
        return False


def test_a_round_that_was_overtaken_does_not_resize_the_fleet(world: ScaledWorld) -> None:
    world.memory = Overtaken()
    world.wait(2)
    assert world.scaler.scale() is None
    assert world.desired.total == 0


def test_without_a_fleet_nothing_is_ordered_and_waiting_jobs_are_seen(world: ScaledWorld) -> None:
    world.fleet.is_deployed = False
    world.wait(3)
    scaled = world.scaler.scale()
    assert scaled is not None
    assert (scaled.seen.waiting, scaled.seen.running, scaled.asked) == (3, 0, Sizes())


class TestWhatWorkersReport:
    def test_copies_of_tickets_in_flight_are_not_counted_as_jobs(self, world: ScaledWorld) -> None:
        """A copy is hidden while its job runs: SQS counts it as in flight."""
        for _ in range(40):
            world.queued()
        world.tickets()  # all of them are in flight
        world.fleet.running = Sizes(ondemand=1)
        world.reports(1, held_jobs=1)
        scaled = world.scaler.scale()
        assert scaled is not None
        assert (scaled.seen.in_flight, scaled.seen.busy, scaled.asked.total) == (1, 1, 1)

    def test_a_ticket_that_no_report_shows_yet_keeps_its_worker(self, world: ScaledWorld) -> None:
        world.wait(1)
        world.tickets()
        world.fleet.running = Sizes(ondemand=1)
        world.reports(1)
        scaled = world.scaler.scale()
        assert scaled is not None
        assert scaled.asked.total == 1

    def test_workers_that_prepare_themselves_are_not_ready(self, world: ScaledWorld) -> None:
        world.fleet.running = Sizes(ondemand=3)
        world.reports(2, is_ready=False)
        world.reports(1)
        scaled = world.scaler.scale()
        assert scaled is not None
        assert scaled.seen.running == 1

    def test_a_long_job_that_runs_orders_no_worker(self, world: ScaledWorld) -> None:
        """Its ticket is hours old. What counts is how long the claimed ones have waited."""
        world.fleet.running = Sizes(ondemand=1)
        world.reports(1, held_jobs=1, claimed_at=world.clock(), waited=timedelta(seconds=1))
        world.wait(1)
        scaled = world.scaler.scale()
        assert scaled is not None
        assert scaled.seen.oldest_wait == timedelta(seconds=1)
        assert scaled.asked.total == 1

    def test_long_waits_of_claimed_jobs_order_workers(self, world: ScaledWorld) -> None:
        world.fleet.running = Sizes(ondemand=1)
        world.reports(1, held_jobs=1, claimed_at=world.clock(), waited=timedelta(minutes=10))
        world.wait(1)
        scaled = world.scaler.scale()
        assert scaled is not None
        assert scaled.asked.total == 2

    def test_without_claims_a_job_waits_since_tickets_began_to_wait(
        self, world: ScaledWorld
    ) -> None:
        world.fleet.running = Sizes(ondemand=1)
        world.wait(1)
        for _ in range(4):
            world.reports(1, held_jobs=1)
            scaled = world.scaler.scale()
            world.clock.advance(60)
        assert scaled is not None
        assert scaled.seen.oldest_wait == timedelta(seconds=180)
        assert scaled.asked.total == 2  # the only worker is busy for longer than a job takes

    def test_the_wait_begins_anew_after_the_queue_was_empty(self, world: ScaledWorld) -> None:
        world.wait(1)
        world.scaler.scale()
        world.finish_all()
        world.clock.advance(60)
        world.scaler.scale()
        world.wait(1)
        world.clock.advance(60)
        scaled = world.scaler.scale()
        assert scaled is not None
        assert scaled.seen.oldest_wait == timedelta(0)


class TestCrashes:
    def crash(self, world: ScaledWorld, workers: int = CRASH_LOOP) -> None:
        for _ in range(workers):
            world.memory.count_crash(world.clock())

    def test_workers_that_crash_are_held_at_one(self, world: ScaledWorld) -> None:
        world.wait(20)
        world.scaler.scale()
        assert world.desired.total == 5
        self.crash(world)
        scaled = world.scaler.scale()
        assert scaled is not None
        assert scaled.is_held
        assert world.desired == Sizes(ondemand=1)

    def test_workers_that_are_ready_stay_and_one_more_is_tried(self, world: ScaledWorld) -> None:
        world.wait(20)
        world.fleet.running = Sizes(ondemand=1, spot=1)
        world.reports(2, held_jobs=1)
        self.crash(world)
        world.scaler.scale()
        assert world.desired.total == 3

    def test_single_crashes_hold_nothing(self, world: ScaledWorld) -> None:
        world.wait(20)
        self.crash(world, CRASH_LOOP - 1)
        world.scaler.scale()
        assert world.desired.total == 5

    def test_the_hold_ends_with_the_crashes(self, world: ScaledWorld) -> None:
        world.wait(20)
        self.crash(world)
        world.scaler.scale()
        world.clock.advance(30 * 60)
        world.scaler.scale()
        assert world.desired.total == 5


class TestSpot:
    def test_spot_that_cannot_be_had_is_ordered_on_demand(self, world: ScaledWorld) -> None:
        world.wait(20)
        asked = []
        for _ in range(5):
            scaled = world.scaler.scale()
            assert scaled is not None
            asked.append((scaled.asked, scaled.unfilled))
            world.clock.advance(60)
            world.fleet.running = Sizes(ondemand=scaled.asked.ondemand)
        assert asked[0] == (Sizes(1, 4), 0)
        assert asked[1] == (Sizes(1, 4), 4)
        assert asked[4][0] == Sizes(5, 0)


class TestRevisions:
    def told(self, world: ScaledWorld) -> frozenset[str]:
        return world.presence.put(Presence(random_worker_id(), 0, world.clock()))

    def test_workers_are_told_the_revisions_that_the_services_have(
        self, world: ScaledWorld
    ) -> None:
        world.scaler.scale()
        assert self.told(world) == frozenset()
        for revisions in ({"worker:1"}, {"worker:1", "worker:2"}, {"worker:2"}):
            world.fleet.revisions = frozenset(revisions)
            world.scaler.scale()
            assert self.told(world) == revisions

    def test_they_are_told_once(self, world: ScaledWorld) -> None:
        world.fleet.revisions = frozenset({"worker:1"})
        world.scaler.scale()
        version = world.memory.load().version
        world.scaler.scale()
        assert world.memory.load().version == version


class TestView:
    """What operators see of the rounds."""

    def reason(self, world: ScaledWorld) -> Reason | None:
        world.scaler.scale()
        view = world.memory.load().view
        return None if view is None else view.reason

    def test_it_says_why_the_fleet_has_its_size(self, world: ScaledWorld) -> None:
        assert self.reason(world) is None
        world.wait(6)
        assert self.reason(world) is Reason.BACKLOG
        world.finish_all()
        assert self.reason(world) is Reason.QUIET
        world.clock.advance(200)
        assert self.reason(world) is Reason.IDLE
        world.wait(100)
        assert self.reason(world) is Reason.MOST
        for _ in range(CRASH_LOOP):
            world.memory.count_crash(world.clock())
        assert self.reason(world) is Reason.CRASHES

    def test_it_has_the_numbers_of_the_round(self, world: ScaledWorld) -> None:
        world.wait(6)
        world.fleet.running = Sizes(ondemand=1)
        world.reports(1)
        world.scaler.scale()
        view = world.memory.load().view
        assert view is not None
        assert (view.waiting, view.in_flight, view.ready) == (6, 0, 1)
        assert (view.asked, view.running) == (Sizes(1, 2), Sizes(1))

    def test_it_costs_no_write_while_nothing_changes(self, world: ScaledWorld) -> None:
        world.wait(1)
        world.scaler.scale()
        world.finish_all()
        world.clock.advance(200)
        world.scaler.scale()
        saved = world.memory.load()
        world.clock.advance(60)
        world.scaler.scale()
        assert world.memory.load() == saved
