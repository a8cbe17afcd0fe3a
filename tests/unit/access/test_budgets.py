"""Budgets count most calls in the process, and each hundredth of a limit in the store."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from comfyline.adapters.memory.access import InMemoryBudgetStore
from comfyline.contract.ids import OwnerId
from comfyline.service.access.budgets import (
    BUDGETS,
    GB,
    MAX_REMEMBERED,
    MESSAGES,
    NEW_KEYS,
    REQUESTS,
    TOKENS,
    UNCOUNTED_SHARE,
    UPLOAD_BYTES,
    UPLOADS,
    Budget,
    Budgets,
    limit_of,
    wait_share,
)
from comfyline.service.access.slots import Limits
from comfyline.service.errors import TooManyRequests, Unavailable
from tests.support.builders import FrozenClock, an_owner
from tests.support.ports import raising

DEFAULTS = Limits()
TEN = Limits(requests_per_minute=10, uploads_per_minute=10)


class CountingStore(InMemoryBudgetStore):
    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def spend(self, owner: OwnerId, budget: Budget, amount: int, limit: int, now: datetime) -> bool:
        self.writes += 1
        return super().spend(owner, budget, amount, limit, now)


class Fleet:
    """Several processes with one store and one clock."""

    def __init__(self, processes: int = 1) -> None:
        self.store, self.clock, self.owner = CountingStore(), FrozenClock(), an_owner()
        self.processes = [Budgets(lambda: self.store, self.clock) for _ in range(processes)]

    def spend(self, budget: Budget, limits: Limits, times: int, amount: int = 1) -> int:
        """Ask so often, in turn of each process; returns how often it was allowed."""
        allowed = 0
        for n in range(times):
            process = self.processes[n % len(self.processes)]
            try:
                process.spend(self.owner, budget, limits, amount)
            except TooManyRequests:
                continue
            allowed += 1
        return allowed


def test_a_low_limit_is_exact_over_all_processes() -> None:
    assert Fleet(processes=7).spend(REQUESTS, TEN, 100) == 10


@pytest.mark.parametrize("processes", [1, 10])
def test_a_high_limit_is_exceeded_by_a_hundredth_for_each_process(processes: int) -> None:
    allowed = Fleet(processes).spend(REQUESTS, DEFAULTS, 3 * REQUESTS.limit)
    block = REQUESTS.limit // UNCOUNTED_SHARE
    assert REQUESTS.limit <= allowed + block
    assert allowed <= REQUESTS.limit + processes * block


def test_an_ordinary_owner_costs_no_write() -> None:
    fleet = Fleet()
    for _ in range(60):
        assert fleet.spend(REQUESTS, DEFAULTS, 50) == 50
        fleet.clock.advance(60)
    assert fleet.store.writes == 0


def test_a_busy_owner_costs_a_write_for_each_hundredth() -> None:
    fleet = Fleet()
    fleet.spend(REQUESTS, DEFAULTS, REQUESTS.limit)
    assert fleet.store.writes == UNCOUNTED_SHARE


def test_an_owner_beyond_its_limit_costs_one_more_write_a_minute() -> None:
    fleet = Fleet()
    fleet.spend(REQUESTS, TEN, 10_000)
    assert fleet.store.writes == 10 + 1
    fleet.clock.advance(60)
    assert fleet.spend(REQUESTS, TEN, 20) == 10


def test_the_refusal_names_the_budget_and_the_wait() -> None:
    fleet = Fleet()
    fleet.spend(UPLOADS, TEN, 10)
    with pytest.raises(TooManyRequests, match="10 upload forms per minute") as refusal:
        fleet.processes[0].spend(fleet.owner, UPLOADS, TEN)
    assert refusal.value.budget == "uploads"
    wait = int(refusal.value.headers["retry-after"])
    assert 0 < wait <= 60
    fleet.clock.advance(wait)
    assert fleet.spend(UPLOADS, TEN, 1) == 1


def test_what_is_too_much_in_one_piece_leaves_room_for_less() -> None:
    fleet, limits = Fleet(), Limits(upload_gb_per_day=1)
    assert fleet.spend(UPLOAD_BYTES, limits, 1, GB - 50) == 1
    assert fleet.spend(UPLOAD_BYTES, limits, 5, 51) == 5  # less than a hundredth is not counted yet
    assert fleet.spend(UPLOAD_BYTES, limits, 1, GB // 2) == 0
    assert fleet.spend(UPLOAD_BYTES, limits, 1, 10) == 1


def test_nothing_is_refused_while_the_store_is_out_of_reach() -> None:
    fleet, refused = Fleet(), raising(Unavailable("throttled"))
    fleet.store.spend = lambda *_: refused()  # type: ignore[method-assign]
    assert fleet.spend(REQUESTS, TEN, 100) == 100


def test_owners_do_not_fill_the_memory_of_a_process() -> None:
    fleet = Fleet()
    (process,) = fleet.processes
    for n in range(3 * MAX_REMEMBERED):
        process.spend(OwnerId(f"owner-{n}"), REQUESTS, DEFAULTS)
    assert len(process._counts) <= MAX_REMEMBERED


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_key_may_set_each_limit_that_has_a_setting(budget: Budget) -> None:
    assert limit_of(budget, DEFAULTS) == budget.limit
    if budget in (MESSAGES, TOKENS, NEW_KEYS):
        assert not budget.setting
        return
    unit = GB if budget is UPLOAD_BYTES else 1
    assert limit_of(budget, Limits(**{budget.setting: 7})) == 7 * unit


def test_a_high_rate_of_jobs_leaves_room_for_a_read_of_each() -> None:
    assert limit_of(REQUESTS, Limits(jobs_per_minute=30_000)) == 60_000
    assert limit_of(REQUESTS, Limits(jobs_per_minute=1)) == REQUESTS.limit
    assert limit_of(REQUESTS, Limits(jobs_per_minute=30_000, requests_per_minute=5)) == 5


def test_a_deployment_says_how_many_requests_an_owner_may_make() -> None:
    fleet = Fleet()
    process = Budgets(lambda: fleet.store, fleet.clock, requests=7)
    fleet.processes = [process]
    assert fleet.spend(REQUESTS, DEFAULTS, 20) == 7
    assert limit_of(UPLOADS, DEFAULTS, 7) == UPLOADS.limit


@pytest.mark.parametrize(("room", "share"), [(100, 25), (1, 1), (0, 1), (1000, 250)])
def test_an_owner_may_wait_in_a_quarter_of_the_room(room: int, share: int) -> None:
    assert wait_share(room, DEFAULTS) == share
    assert wait_share(room, Limits(max_waits=3)) == 3


def test_windows_are_those_of_the_clock() -> None:
    fleet = Fleet()
    fleet.clock.now = fleet.clock.now.replace(second=59)
    assert fleet.spend(UPLOADS, TEN, 20) == 10
    fleet.clock.advance(timedelta(seconds=1))
    assert fleet.spend(UPLOADS, TEN, 20) == 10
