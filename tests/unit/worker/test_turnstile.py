"""Which prompts may be in the engine at the same time, over all pairs."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from comfyline.contract.ids import OwnerId
from gpu_worker.turnstile import Turnstile, Visit, may_enter

ALICE, BOB = OwnerId("alice"), OwnerId("bob")
KINDS = [(owner, is_tidy) for owner in (ALICE, BOB) for is_tidy in (True, False)]


@pytest.mark.parametrize(("first", "second"), list(product(KINDS, KINDS)))
def test_a_second_prompt_waits_behind_a_tidy_one_of_its_owner_alone(
    first: tuple[OwnerId, bool], second: tuple[OwnerId, bool]
) -> None:
    allowed = first[0] == second[0] and first[1] and second[1]
    inside = Visit(*first)
    assert may_enter(Visit(*second), [inside]) is allowed
    inside.is_leaving = True
    assert not may_enter(Visit(*second), [inside])


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_engine_takes_every_prompt_and_none_is_third(kind: tuple[OwnerId, bool]) -> None:
    assert may_enter(Visit(*kind), [])
    assert not may_enter(Visit(*kind), [Visit(ALICE, True), Visit(ALICE, True)])


class Engine:
    """Prompts that pass one turnstile; each stays inside until the test lets it go."""

    def __init__(self) -> None:
        self.turnstile = Turnstile()
        self.inside: list[Visit] = []
        self.last: list[Visit] = []  # those that left as the last
        self.can_take = asyncio.Event()  # unset while no files can be taken away
        self.can_take.set()
        self._go: dict[Visit, asyncio.Event] = {}
        self._tasks: dict[Visit, asyncio.Task[None]] = {}

    async def come(self, owner: OwnerId, *, is_tidy: bool = True) -> Visit:
        visit = Visit(owner, is_tidy)
        self._go[visit] = asyncio.Event()
        self._tasks[visit] = asyncio.create_task(self._stay(visit))
        await self.settle()
        return visit

    async def go(self, visit: Visit) -> None:
        self._go[visit].set()
        await self.settle()

    async def give_up(self, visit: Visit) -> None:
        self._tasks[visit].cancel()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def _stay(self, visit: Visit) -> None:
        await self.turnstile.enter(visit)
        self.inside.append(visit)
        await self._go[visit].wait()
        async with self.turnstile.leaving(visit) as is_last:
            await self.can_take.wait()
            self.inside.remove(visit)
            self.last += [visit] if is_last else []


async def test_prompts_enter_in_the_order_in_which_they_came() -> None:
    engine = Engine()
    visits = [await engine.come(owner) for owner in (ALICE, BOB, ALICE)]
    assert engine.inside == visits[:1]  # the third would be allowed, but is not served first
    await engine.go(visits[0])
    assert engine.inside == visits[1:2]
    await engine.go(visits[1])
    assert engine.inside == visits[2:]
    await engine.go(visits[2])
    assert engine.last == visits
    assert not any(visit.was_shared for visit in visits)


async def test_no_prompt_enters_while_files_are_taken_away() -> None:
    engine = Engine()
    engine.can_take.clear()
    first = await engine.come(ALICE)
    await engine.go(first)
    second = await engine.come(ALICE)
    assert engine.inside == [first]
    engine.can_take.set()
    await engine.settle()
    assert engine.inside == [second]
    assert not second.was_shared


async def test_both_of_two_prompts_know_that_they_were_not_alone() -> None:
    engine = Engine()
    first, second = await engine.come(ALICE), await engine.come(ALICE)
    assert engine.inside == [first, second]
    await engine.go(first)
    await engine.go(second)
    assert first.was_shared
    assert second.was_shared
    assert engine.last == [second]


async def test_of_two_that_leave_at_once_the_second_is_the_last() -> None:
    engine = Engine()
    engine.can_take.clear()
    first, second = await engine.come(ALICE), await engine.come(ALICE)
    await engine.go(first)
    await engine.go(second)
    engine.can_take.set()
    await engine.settle()
    assert engine.last == [second]
    assert engine.inside == []


async def test_a_prompt_that_gives_up_waiting_lets_the_next_one_in() -> None:
    engine = Engine()
    first, second = await engine.come(ALICE), await engine.come(BOB)
    third = await engine.come(ALICE)
    await engine.give_up(second)
    assert engine.inside == [first, third]


async def test_a_prompt_whose_files_cannot_be_taken_leaves_the_engine() -> None:
    turnstile = Turnstile()
    first, second = Visit(ALICE, is_tidy=False), Visit(BOB, is_tidy=False)
    await turnstile.enter(first)
    with pytest.raises(OSError, match="broken"):
        async with turnstile.leaving(first):
            raise OSError("broken")
    assert await turnstile.enter(second)
