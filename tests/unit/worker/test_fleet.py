"""The task is protected while the worker holds jobs; a spot notice drains the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from gpu_worker.ecs import EcsTaskProtection, SpotNotices, client_of
from gpu_worker.notice import drain_on_notice
from gpu_worker.occupancy import Occupancy
from gpu_worker.protection import (
    EVERY_SECONDS,
    EXPIRES_MINUTES,
    LOOKS,
    FleetUnreachable,
    keep_protected,
)
from tests.support.ecs_double import Ecs, ecs
from tests.support.eventually import WITHIN, eventually

PROTECTED = {"ProtectionEnabled": True, "ExpiresInMinutes": 30}
FREE = {"ProtectionEnabled": False}
NOTICE = '{"action": "terminate", "time": "2030-01-01T00:02:00Z"}'
SOON = 0.005


class Fleet:
    """Records each request; unreachable while `down`."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.down = False

    async def ask(self, *, protected: bool) -> None:
        self.asked.append(protected)
        if self.down:
            raise FleetUnreachable("throttled")


@asynccontextmanager
async def task_protection(url: str) -> AsyncIterator[EcsTaskProtection]:
    async with client_of(url) as client:
        yield EcsTaskProtection(client)


@asynccontextmanager
async def spot_notices(url: str) -> AsyncIterator[SpotNotices]:
    async with client_of(url) as client:
        yield SpotNotices(client)


@pytest.fixture
def double() -> Iterator[Ecs]:
    with ecs() as double:
        yield double


async def test_protection_lasts_from_the_first_job_to_the_last_and_is_renewed() -> None:
    fleet, occupancy = Fleet(), Occupancy()
    keeping = asyncio.create_task(keep_protected(fleet, occupancy, every=SOON, looks=1))
    await asyncio.sleep(0)
    assert fleet.asked == []
    first, second = occupancy.enter(), occupancy.enter()
    await eventually(lambda: len(fleet.asked) >= 3)
    first.free()
    assert all(fleet.asked)
    second.free()
    await eventually(lambda: fleet.asked[-1] is False)
    occupancy.enter()
    await eventually(lambda: fleet.asked[-1] is True)
    assert fleet.asked.count(False) == 1
    keeping.cancel()


async def test_protection_is_renewed_long_before_it_expires_and_not_at_each_look() -> None:
    """ECS limits the calls of an account, which all workers share."""
    assert EVERY_SECONDS * LOOKS * 2 < EXPIRES_MINUTES * 60
    fleet, occupancy = Fleet(), Occupancy()
    keeping = asyncio.create_task(keep_protected(fleet, occupancy, every=0, looks=1_000_000))
    place = occupancy.enter()
    for _ in range(100):
        await asyncio.sleep(0)
    assert fleet.asked == [True]
    place.free()
    await eventually(lambda: fleet.asked == [True, False])
    keeping.cancel()


async def test_a_protection_that_cannot_be_given_up_is_given_up_later() -> None:
    fleet, occupancy = Fleet(), Occupancy()
    keeping = asyncio.create_task(keep_protected(fleet, occupancy, every=SOON))
    place = occupancy.enter()
    await eventually(lambda: fleet.asked == [True])
    fleet.down = True
    place.free()
    await eventually(lambda: fleet.asked.count(False) >= 2)
    fleet.down = False
    refused = fleet.asked.count(False)
    await eventually(lambda: fleet.asked.count(False) > refused)
    keeping.cancel()


async def test_an_unreachable_fleet_is_asked_again() -> None:
    fleet, occupancy = Fleet(), Occupancy()
    fleet.down = True
    keeping = asyncio.create_task(keep_protected(fleet, occupancy, every=SOON))
    occupancy.enter()
    await eventually(lambda: len(fleet.asked) >= 3)
    assert not keeping.done()
    keeping.cancel()


async def test_the_agent_gets_the_request_that_ecs_documents(double: Ecs) -> None:
    async with task_protection(f"{double.url}/agent") as protection:
        await protection.ask(protected=True)
        await protection.ask(protected=False)
    assert double.protections == [PROTECTED, FREE]


@pytest.mark.parametrize(
    "answer",
    [
        (500, ""),
        (404, "not found"),
        (200, '{"failure": {"Arn": "arn:task", "Reason": "TASK_NOT_VALID"}}'),
        (200, '{"error": {"Code": "ThrottlingException"}}'),
        (200, "[]"),
        (200, "protection"),
        (200, "[" * 100_000),
    ],
)
async def test_any_other_answer_is_a_refusal(double: Ecs, answer: tuple[int, str]) -> None:
    double.answer = answer
    async with task_protection(f"{double.url}/agent") as protection:
        with pytest.raises(FleetUnreachable):
            await protection.ask(protected=True)


async def test_no_answer_is_a_refusal() -> None:
    with ecs() as double:
        pass
    async with task_protection(double.url) as protection, spot_notices(double.url) as notices:
        with pytest.raises(FleetUnreachable):
            await protection.ask(protected=True)
        with pytest.raises(FleetUnreachable):
            await notices.is_leaving()


async def test_a_spot_notice_is_seen(double: Ecs) -> None:
    async with spot_notices(double.url) as notices:
        assert not await notices.is_leaving()
        double.action = NOTICE
        assert await notices.is_leaving()
    assert double.tokens == 1


async def test_a_token_that_has_expired_is_renewed(double: Ecs) -> None:
    async with spot_notices(double.url) as notices:
        assert not await notices.is_leaving()
        double.tokens += 1
        with pytest.raises(FleetUnreachable):
            await notices.is_leaving()
        assert not await notices.is_leaving()


@pytest.mark.parametrize("answer", [(500, ""), (200, "a\nb")])
async def test_a_token_that_is_not_valid_is_not_used(double: Ecs, answer: tuple[int, str]) -> None:
    double.answer = answer
    async with spot_notices(double.url) as notices:
        with pytest.raises(FleetUnreachable):
            await notices.is_leaving()


@pytest.mark.parametrize("text", ["", "null", "[]", '"terminate"', "{}"])
async def test_any_other_text_is_not_a_notice(double: Ecs, text: str) -> None:
    async with spot_notices(double.url) as notices:
        double.action = text
        assert not await notices.is_leaving()


async def test_the_worker_drains_when_the_machine_is_taken_away(double: Ecs) -> None:
    drain = asyncio.Event()
    async with spot_notices(double.url) as notices:
        listening = asyncio.create_task(drain_on_notice(notices.is_leaving, drain, every=SOON))
        await eventually(lambda: double.tokens == 1)
        double.answer = (503, "")
        double.tokens += 1
        double.answer = None
        assert not drain.is_set()
        double.action = NOTICE
        await asyncio.wait_for(drain.wait(), WITHIN)
        await listening
