"""One look at the engine for a prompt with rounds, while rounds begin and a cancel comes."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from gpu_worker.comfy.followed import Followed
from gpu_worker.comfy.following import Following
from gpu_worker.comfy.http import ComfyHttp
from gpu_worker.comfy.keeper import ForeignEngine
from gpu_worker.comfy.outcomes import PromptInterrupted
from gpu_worker.comfy.protocol import PromptRun
from gpu_worker.comfy.socket import ComfySocket
from gpu_worker.comfy.unfollowed import UnfollowedPrompts
from gpu_worker.comfy.watchdog import DEFAULT_PATIENCE, Watchdog
from tests.support import mocked_engine
from tests.unit.worker.prompts import GRAPH


class Engine:
    """An engine with prompts in its queue, and the `Following` of the prompt "1"."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.cancel = asyncio.Event()
        self.run = PromptRun("1", GRAPH)
        self.followed = Followed(self.run, lambda _event: None, Watchdog(DEFAULT_PATIENCE))
        keeper = ForeignEngine()
        http = ComfyHttp(mocked_engine.session(self.answer))
        socket = ComfySocket("ws://x", "c", on_frame=lambda _frame: None, on_open=lambda: None)
        unfollowed = UnfollowedPrompts(
            http, keeper, {"1": self.followed}, follows=True, patience_seconds=30
        )
        self.following = Following(
            self.followed,
            self.cancel,
            http=http,
            keeper=keeper,
            socket=socket,
            unfollowed=unfollowed,
            patience=DEFAULT_PATIENCE,
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((request.method, request.url.path))
        entries = [[0, each, {}, {}, []] for each in self.running]
        queue: dict[str, Any] = {"queue_running": entries, "queue_pending": []}
        return httpx.Response(200, json=queue if request.url.path == "/queue" else {})


class BeginsRound(Engine):
    """A further round begins, and the socket tells it, when the queue has just been read."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        response = super().answer(request)
        if request.url.path == "/queue":
            self.run.adopt("2")
        return response


class CanceledAtHistory(Engine):
    """The cancel comes while the history of one of many rounds is read."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/history"):
            self.cancel.set()
        return super().answer(request)


async def test_a_round_that_begins_after_the_queue_was_read_is_not_lost() -> None:
    engine = BeginsRound()
    engine.running = ["1"]
    assert not await engine.following._look()


async def test_a_prompt_that_is_in_neither_queue_nor_history_is_lost() -> None:
    assert await Engine().following._look()


async def test_a_new_cancel_ends_the_reading_of_many_rounds_and_removes_them_first() -> None:
    engine = CanceledAtHistory()
    for number in range(1_000):
        engine.run.adopt(str(number))
    engine.running = ["999"]
    assert not await engine.following._look()
    assert len(engine.requests) < 10
    engine.requests.clear()
    assert not await engine.following._look()
    assert ("POST", "/interrupt") in engine.requests
    assert ("GET", "/history/1") not in engine.requests


async def test_a_canceled_prompt_has_ended_when_no_round_of_it_is_left_in_the_queue() -> None:
    engine = Engine()
    engine.run.adopt("2")
    engine.cancel.set()
    engine.running = ["1"]
    assert not await engine.following._look()
    engine.running = []
    assert isinstance(await engine.following.outcome(), PromptInterrupted)
