"""Prompts in the queue that are not followed: whose they are, and how they go."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gpu_worker.comfy.followed import Followed
from gpu_worker.comfy.http import ComfyHttp, EngineQueue
from gpu_worker.comfy.keeper import ForeignEngine
from gpu_worker.comfy.marks import mark, origin_of
from gpu_worker.comfy.protocol import PromptRun
from gpu_worker.comfy.unfollowed import UnfollowedPrompts
from gpu_worker.comfy.watchdog import DEFAULT_PATIENCE, Watchdog
from tests.support import mocked_engine
from tests.unit.worker.prompts import GRAPH, message

PATIENCE_SECONDS = 30.0


class Keeper(ForeignEngine):
    """Counts restarts."""

    def __init__(self, *, is_foreign: bool, has_other_workers: bool) -> None:
        super().__init__(has_other_workers=has_other_workers)
        self.is_foreign = is_foreign
        self.restarts: list[str] = []

    def restart(self, reason: str) -> None:
        self.restarts.append(reason)


class Engine:
    """`UnfollowedPrompts` in an engine, with the requests that they cause."""

    def __init__(
        self, *, is_foreign: bool = False, has_other_workers: bool = False, follows: bool = False
    ) -> None:
        self.now = 1000.0
        self.requests: list[tuple[str, Any]] = []
        self.followed: dict[str, Followed] = {}
        self.keeper = Keeper(is_foreign=is_foreign, has_other_workers=has_other_workers)
        self.unfollowed = UnfollowedPrompts(
            ComfyHttp(mocked_engine.session(self._answer)),
            self.keeper,
            self.followed,
            follows=follows,
            patience_seconds=PATIENCE_SECONDS,
            clock=lambda: self.now,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((request.url.path, request.read().decode()))
        return httpx.Response(200, json={})

    def follow(self, prompt_id: str, *, runs: bool = True) -> Followed:
        run = PromptRun(prompt_id, GRAPH)
        self.unfollowed.posted(prompt_id)
        self.followed[prompt_id] = Followed(run, lambda _e: None, Watchdog(DEFAULT_PATIENCE))
        if runs:
            run.receive(message("executing", node="1", prompt_id=prompt_id))
        return self.followed[prompt_id]

    async def shows(self, *pending: str | int, **origins: str) -> bool:
        queue = EngineQueue(frozenset(self.followed), frozenset(pending), origins)  # type: ignore[arg-type]
        return await self.unfollowed.were_in(queue)

    @property
    def deleted(self) -> list[str]:
        return [body for path, body in self.requests if path == "/queue" and body]


@pytest.mark.parametrize("is_foreign", [True, False])
async def test_a_copy_of_a_prompt_is_that_prompts_doing(is_foreign: bool) -> None:
    engine = Engine(is_foreign=is_foreign)
    mine, other = engine.follow("mine"), engine.follow("other")
    assert await engine.shows("copy", copy="mine")
    assert (mine.has_queued, other.has_queued) == (True, False)
    assert engine.deleted == ['{"delete":["copy"]}']
    assert not engine.unfollowed.left_traces


async def test_an_unmarked_prompt_is_the_doing_of_the_one_that_runs_in_our_own_engine() -> None:
    engine = Engine()
    ahead, runs = engine.follow("ahead", runs=False), engine.follow("runs")
    assert await engine.shows("new")
    assert (ahead.has_queued, runs.has_queued) == (False, True)


async def test_in_a_foreign_engine_an_unmarked_prompt_is_nobodys_doing() -> None:
    engine = Engine(is_foreign=True)
    mine = engine.follow("mine")
    assert await engine.shows("new")
    assert (mine.has_queued, engine.unfollowed.left_traces) == (False, True)
    assert engine.deleted == ['{"delete":["new"]}']


async def test_a_copy_of_a_prompt_that_has_ended_is_not_blamed_on_the_next() -> None:
    engine = Engine()
    mine = engine.follow("mine")
    assert await engine.shows("late", late="ended")
    assert (mine.has_queued, engine.unfollowed.left_traces) == (False, True)


async def test_a_given_up_prompt_is_removed_without_suspicion() -> None:
    engine = Engine()
    engine.follow("mine")
    del engine.followed["mine"]
    assert await engine.shows("mine", mine="mine")
    assert (engine.deleted, engine.unfollowed.left_traces) == (['{"delete":["mine"]}'], False)


@pytest.mark.parametrize("has_other_workers", [True, False])
async def test_prompts_of_another_worker_stay_if_there_can_be_one(has_other_workers: bool) -> None:
    engine = Engine(is_foreign=True, has_other_workers=has_other_workers)
    assert await engine.shows("theirs", theirs="theirs") is not has_other_workers


async def test_rounds_are_adopted_if_they_are_to_be_followed() -> None:
    engine = Engine(follows=True)
    mine = engine.follow("mine")
    assert not await engine.shows("second", second="mine")
    assert mine.run.ids == {"mine", "second"}
    assert not await engine.shows("second", "third", second="mine", third="mine")
    assert mine.run.ids == {"mine", "second", "third"}
    assert engine.requests == []


async def test_what_does_not_go_within_the_patience_restarts_the_engine() -> None:
    engine = Engine()
    for _ in range(3):
        assert await engine.shows("new")
        engine.now += PATIENCE_SECONDS / 2
    assert engine.keeper.restarts == []
    assert await engine.shows("new")
    assert engine.keeper.restarts == ["unfollowed_prompts"]


async def test_the_patience_begins_anew_when_they_have_gone() -> None:
    engine = Engine()
    for _ in range(5):
        assert await engine.shows("new")
        assert engine.unfollowed.are_present
        assert not await engine.shows()
        assert not engine.unfollowed.are_present
        engine.now += PATIENCE_SECONDS
    assert engine.keeper.restarts == []


async def test_prompts_with_ids_that_are_no_text_are_removed_too() -> None:
    engine = Engine()
    assert await engine.shows(7, "new")
    assert engine.deleted == ['{"delete":[7,"new"]}']


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ([1, "p", {}, dict(mark("p")), []], "p"),
        ([1, "copy", {}, {"client_id": "c", **mark("p")}, []], "p"),
        ([1, "p", {}, {}, []], None),
        ([1, "p", {}, dict.fromkeys(mark("p"), 7), []], None),
        ([1, "p", {}, None], None),
        ([1, "p"], None),
        (None, None),
    ],
)
def test_the_mark_of_an_entry_of_any_shape(entry: Any, origin: str | None) -> None:
    assert origin_of(entry) == origin
