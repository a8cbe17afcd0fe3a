"""Protected while there are jobs, and gone in time when the machine is taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from gpu_worker.ecs import spot_notices, task_protection
from gpu_worker.notice import drain_on_notice
from gpu_worker.protection import FleetUnreachable, keep_protected
from gpu_worker.slots import Slots
from tests.support.ecs_double import Ecs, ecs
from tests.support.eventually import eventually

PROTECTED = {"ProtectionEnabled": True, "ExpiresInMinutes": 5}
FREE = {"ProtectionEnabled": False}
NOTICE = '{"action": "terminate", "time": "2030-01-01T00:02:00Z"}'
SOON = 0.005


class Fleet:
    """Remembers what it was asked; out of reach while `down`."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.down = False

    async def ask(self, *, protected: bool) -> None:
        self.asked.append(protected)
        if self.down:
            raise FleetUnreachable("throttled")


@pytest.fixture
def double() -> Iterator[Ecs]:
    with ecs() as double:
        yield double


async def test_protected_from_the_first_job_again_and_again_and_free_after_the_last() -> None:
    fleet, slots = Fleet(), Slots()
    keeping = asyncio.create_task(keep_protected(fleet, slots, every=SOON))
    await asyncio.sleep(0)
    assert fleet.asked == []
    one, other = slots.enter(), slots.enter()
    await eventually(lambda: len(fleet.asked) >= 3)
    one.free()
    assert all(fleet.asked)
    other.free()
    await eventually(lambda: fleet.asked[-1] is False)
    slots.enter()
    await eventually(lambda: fleet.asked[-1] is True)
    assert fleet.asked.count(False) == 1
    keeping.cancel()


async def test_a_fleet_out_of_reach_is_asked_again() -> None:
    fleet, slots = Fleet(), Slots()
    fleet.down = True
    keeping = asyncio.create_task(keep_protected(fleet, slots, every=SOON))
    slots.enter()
    await eventually(lambda: len(fleet.asked) >= 3)
    assert not keeping.done()
    keeping.cancel()


async def test_the_agent_is_asked_as_ecs_wants_it(double: Ecs) -> None:
    async with task_protection(f"{double.url}/agent") as protection:
        await protection.ask(protected=True)
        await protection.ask(protected=False)
    assert double.wishes == [PROTECTED, FREE]


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
async def test_what_is_no_yes_is_a_no(double: Ecs, answer: tuple[int, str]) -> None:
    double.answer = answer
    async with task_protection(f"{double.url}/agent") as protection:
        with pytest.raises(FleetUnreachable):
            await protection.ask(protected=True)


async def test_nobody_there_is_a_no() -> None:
    with ecs() as double:
        pass
    async with task_protection(double.url) as protection, spot_notices(double.url) as notices:
        with pytest.raises(FleetUnreachable):
            await protection.ask(protected=True)
        with pytest.raises(FleetUnreachable):
            await notices.is_leaving()


async def test_a_notice_is_heard(double: Ecs) -> None:
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
async def test_what_is_no_token_is_not_sent_on(double: Ecs, answer: tuple[int, str]) -> None:
    double.answer = answer
    async with spot_notices(double.url) as notices:
        with pytest.raises(FleetUnreachable):
            await notices.is_leaving()


@pytest.mark.parametrize("text", ["", "null", "[]", '"terminate"', "{}"])
async def test_what_is_no_notice_stops_nothing(double: Ecs, text: str) -> None:
    async with spot_notices(double.url) as notices:
        double.action = text
        assert not await notices.is_leaving()


async def test_the_worker_drains_when_the_machine_goes(double: Ecs) -> None:
    drain = asyncio.Event()
    async with spot_notices(double.url) as notices:
        listening = asyncio.create_task(drain_on_notice(notices, drain, every=SOON))
        await eventually(lambda: double.tokens == 1)
        double.answer = (503, "")
        double.tokens += 1
        double.answer = None
        assert not drain.is_set()
        double.action = NOTICE
        await asyncio.wait_for(drain.wait(), 5)
        await listening
