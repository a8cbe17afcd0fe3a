"""Which workers are on-demand and which spot: examples, and properties over whole days."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.fleet.capacity import (
    REFUSED_FOR,
    Capacity,
    FleetSize,
    Sizes,
    SpotHistory,
    split,
    watch_spot,
)
from tests.support.builders import NOW

MINUTE = timedelta(minutes=1)
PATIENCE = timedelta(minutes=6)


class Fleet:
    """A test decides how many spot workers come; on-demand workers start in three minutes."""

    def __init__(self, first: int = 1) -> None:
        self.now, self.history = NOW, SpotHistory()
        self.desired = self.running = Sizes()
        self._first = first
        self._ordered: list[tuple[datetime, int]] = []

    def round(self, workers: int, spot_started: int = 0) -> Sizes:
        """One minute later, when so many more of the ordered spot workers have started."""
        self.now += MINUTE
        spot = min(self.running.spot + spot_started, self.desired.spot)
        self.running = Sizes(self._ondemand(), spot)
        size = FleetSize(self.desired, self.running)
        self.history = watch_spot(self.history, size, PATIENCE, self.now)
        self.desired = split(workers, self._first, self.history, size, self.now)
        self._ordered.append((self.now, self.desired.ondemand))
        return self.desired

    def rounds(self, minutes: int, workers: int, spot_started: int = 0) -> Sizes:
        for _ in range(minutes):
            self.round(workers, spot_started)
        return self.desired

    def _ondemand(self) -> int:
        booted = [n for at, n in self._ordered if at <= self.now - 3 * MINUTE]
        return min(booted[-1] if booted else 0, self.desired.ondemand)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_the_first_worker_is_on_demand_and_those_above_are_spot(fleet: Fleet) -> None:
    assert fleet.round(1) == Sizes(ondemand=1, spot=0)
    assert fleet.round(10) == Sizes(ondemand=1, spot=9)
    assert fleet.round(0) == Sizes(0, 0)


@pytest.mark.parametrize(("first", "expected"), [(0, Sizes(0, 5)), (3, Sizes(3, 2)), (9, Sizes(5))])
def test_the_deployment_chooses_how_many_are_never_spot(first: int, expected: Sizes) -> None:
    assert Fleet(first).round(5) == expected


def test_spot_that_cannot_be_had_is_moved_to_on_demand_and_back_after_an_hour(
    fleet: Fleet,
) -> None:
    assert fleet.rounds(6, 10) == Sizes(1, 9)
    assert fleet.rounds(2, 10) == Sizes(10, 0)  # after twice the boot time
    assert fleet.rounds(56, 10) == Sizes(10, 0)
    tried_again = fleet.rounds(6, 10)
    assert tried_again == Sizes(10, 9)  # on-demand stays until spot has come
    assert fleet.round(10, spot_started=4) == Sizes(6, 9)
    assert fleet.round(10, spot_started=5) == Sizes(1, 9)


def test_what_runs_on_spot_stays_there(fleet: Fleet) -> None:
    fleet.round(10)
    fleet.round(10, spot_started=4)
    assert fleet.rounds(8, 10) == Sizes(6, 4)
    assert fleet.round(3) == Sizes(1, 2)


def test_new_orders_are_on_demand_while_spot_is_refused(fleet: Fleet) -> None:
    fleet.rounds(8, 10)
    assert fleet.round(20) == Sizes(20, 0)


def test_a_fleet_that_grows_while_spot_comes_is_not_refused(fleet: Fleet) -> None:
    """Something is always missing, but every order is filled within its patience."""
    for workers in range(2, 80, 2):
        fleet.round(workers, spot_started=2 if workers > 8 else 0)
        assert fleet.history.refused_until is None


def test_a_fleet_that_replaces_reclaimed_workers_is_not_refused(fleet: Fleet) -> None:
    fleet.round(5000)
    fleet.round(5000, spot_started=4999)
    for minute in range(120):
        fleet.running = Sizes(fleet.running.ondemand, fleet.running.spot - 4)
        fleet.round(5000, spot_started=4 if minute > 3 else 0)
        assert fleet.history.refused_until is None


def test_a_trickle_does_not_keep_a_large_order_waiting(fleet: Fleet) -> None:
    for minute in range(10):
        fleet.round(100, spot_started=1 if minute == 4 else 0)
    assert fleet.desired == Sizes(99, 1)


def test_an_order_that_is_no_longer_needed_is_forgotten(fleet: Fleet) -> None:
    fleet.rounds(5, 50)
    fleet.rounds(3, 1)
    assert fleet.rounds(5, 50) == Sizes(1, 49)
    assert fleet.history.refused_until is None


steps = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=120)


@given(steps, st.integers(0, 60))
def test_as_many_workers_are_ordered_as_are_needed(
    steps: list[tuple[int, int]], first: int
) -> None:
    fleet = Fleet(first)
    for workers, started in steps:
        asked = fleet.round(workers, started)
        assert asked.ondemand >= min(workers, first)
        assert asked.spot >= 0
        # Never fewer than are needed. More only while on-demand stands in for spot that is ordered.
        assert asked.total >= workers
        assert asked.ondemand <= workers
        assert asked.spot <= workers - min(workers, first)


@given(steps)
def test_what_can_run_is_never_fewer_than_what_is_needed_for_longer_than_the_patience(
    steps: list[tuple[int, int]],
) -> None:
    """Where spot never comes, every order is on-demand after the patience and one round."""
    fleet = Fleet()
    most = max(workers for workers, _ in steps)
    for _ in range(int(PATIENCE / MINUTE) + 2):
        fleet.round(most)
    assert fleet.desired.ondemand == most


def test_the_refusal_ends_by_the_clock_alone() -> None:
    history = SpotHistory(refused_until=NOW)
    assert not history.is_refused(NOW)
    assert history.is_refused(NOW - timedelta.resolution)
    later = watch_spot(history, FleetSize(Sizes(1, 5), Sizes(1, 0)), PATIENCE, NOW)
    assert later == SpotHistory(owed=5, since=NOW)
    refused = watch_spot(later, FleetSize(Sizes(1, 5), Sizes(1, 0)), PATIENCE, NOW + PATIENCE)
    assert refused.refused_until == NOW + PATIENCE + REFUSED_FOR


def test_each_capacity_is_the_name_of_a_service() -> None:
    assert [capacity.value for capacity in Capacity] == ["ondemand", "spot"]
    assert Sizes(1, 2).of(Capacity.SPOT) == 2
