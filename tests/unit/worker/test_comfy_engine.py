"""What the engine is sent with a graph, and which requests follow if it refuses a part of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.http import ComfyHttp, EngineUnreachable, PromptRejected
from gpu_worker.comfy.keeper import ForeignEngine
from gpu_worker.comfy.marks import mark
from gpu_worker.comfy.outcomes import Outcome, PromptInterrupted, PromptLost, PromptSucceeded
from gpu_worker.comfy.protocol import Event, PromptStarted
from gpu_worker.comfy.watchdog import Patience
from tests.support import mocked_engine

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}}
ONE_WRONG_NODE = {
    "node_errors": {"1": {"class_type": "X", "errors": [{"type": "t", "message": "m"}]}}
}
SUCCESS = {"p": {"status": {"status_str": "success", "messages": []}}}

WITHOUT_SOCKET = Patience(socket=0.0)  # no test here has one


class Server:
    """Answers like a ComfyUI with these prompts in its queue, one answer after the other."""

    def __init__(self, status: int, *queues: list[str]) -> None:
        self.requested: list[str] = []
        self.posted: dict[str, Any] = {}
        self._status, self._queues = status, iter(queues)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path != "/object_info":
            self.requested.append(path)
        if path == "/prompt":
            self.posted = json.loads(request.content)
            return httpx.Response(self._status, json=ONE_WRONG_NODE)
        return httpx.Response(200, json=self._answer(request))

    def _answer(self, request: httpx.Request) -> Any:
        if request.url.path == "/queue" and request.method == "GET":
            running = next(self._queues, [])
            return {"queue_running": [[0, each, {}, {}, []] for each in running]}
        return SUCCESS if request.url.path == "/history/p" else {}


@pytest.fixture
def stopping() -> asyncio.Event:
    return asyncio.Event()


async def run(
    server: Server, cancel: asyncio.Event, *, strict: bool = False, **options: Any
) -> Outcome:
    http = ComfyHttp(mocked_engine.session(server))
    engine = ComfyEngine(http, "ws://engine", ForeignEngine(), WITHOUT_SOCKET)
    return await engine.run(
        GRAPH, "p", on_event=lambda _event: None, cancel=cancel, strict=strict, **options
    )


@pytest.mark.parametrize(
    ("pnginfo", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"workflow": {"nodes": []}}, {"extra_pnginfo": {"workflow": {"nodes": []}}}),
    ],
)
async def test_only_what_goes_into_pictures_is_passed_on(
    pnginfo: Any, expected: dict[str, Any], stopping: asyncio.Event
) -> None:
    server = Server(400)
    with pytest.raises(PromptRejected):
        await run(server, stopping, extra_pnginfo=pnginfo)
    sent = server.posted["extra_data"]
    assert sent == {"preview_method": "none", **mark("p"), **expected}


@pytest.mark.parametrize("strict", [False, True])
async def test_nothing_follows_a_refusal(strict: bool, stopping: asyncio.Event) -> None:
    server = Server(400)
    with pytest.raises(PromptRejected):
        await run(server, stopping, strict=strict)
    assert server.requested == ["/queue", "/prompt"]


async def test_a_strict_prompt_of_which_a_part_is_valid_is_removed_until_it_is_gone(
    stopping: asyncio.Event,
) -> None:
    server = Server(200, [], ["p"], ["p"], [])
    with pytest.raises(PromptRejected) as rejected:
        await run(server, stopping, strict=True)
    removal = ["/queue", "/interrupt"]
    seen_without = ["/queue", "/queue"]
    assert server.requested == ["/queue", "/prompt", *removal, *removal, *seen_without, "/history"]
    assert rejected.value.type == "prompt_outputs_failed_validation"
    assert [problem.node_id for problem in rejected.value.problems] == ["1"]


async def test_the_valid_part_of_a_prompt_runs_and_the_outcome_has_the_problems(
    stopping: asyncio.Event,
) -> None:
    outcome = await run(Server(200), stopping, strict=False)
    assert isinstance(outcome, PromptSucceeded)
    assert [(each.node_id, each.node_type) for each in outcome.problems] == [("1", "X")]


async def test_a_prompt_that_is_stopped_before_it_is_posted_is_not_posted(
    stopping: asyncio.Event,
) -> None:
    server = Server(200)
    stopping.set()
    assert isinstance(await run(server, stopping, strict=False), PromptInterrupted)
    assert server.requested == []


class Ending(Server):
    """Ends while it answers the post, before or after it has taken the prompt."""

    def __init__(self, keeper: ForeignEngine, error: type[httpx.TransportError] | None) -> None:
        super().__init__(200, [])
        self._keeper, self._error = keeper, error

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if "/prompt" in self.requested:
            raise httpx.ConnectError("refused")
        answer = super().__call__(request)
        if request.url.path != "/prompt":
            return answer
        asyncio.get_running_loop().call_later(0.01, self._keeper.on_end)
        if self._error is not None:
            raise self._error("broken")
        return httpx.Response(200, json={})


async def started_before_the_end(
    keeper: ForeignEngine, server: Server, stopping: asyncio.Event
) -> bool:
    events: list[Event] = []
    http = ComfyHttp(mocked_engine.session(server))
    engine = ComfyEngine(http, "ws://engine", keeper)
    outcome = await engine.run(GRAPH, "p", on_event=events.append, cancel=stopping)
    assert isinstance(outcome, PromptLost)
    return PromptStarted() in events


@pytest.mark.parametrize("error", [None, httpx.ReadError, httpx.RemoteProtocolError])
async def test_a_prompt_that_ends_its_engine_at_once_has_run(
    error: type[httpx.TransportError] | None, stopping: asyncio.Event
) -> None:
    keeper = ForeignEngine()
    assert await started_before_the_end(keeper, Ending(keeper, error), stopping)


async def test_a_prompt_in_an_engine_that_the_worker_restarts_has_perhaps_not_run(
    stopping: asyncio.Event,
) -> None:
    keeper = ForeignEngine()
    keeper.end_reason = "unfollowed_prompts"
    assert not await started_before_the_end(keeper, Ending(keeper, None), stopping)


async def test_an_engine_that_refuses_connections_has_not_got_the_prompt(
    stopping: asyncio.Event,
) -> None:
    keeper = ForeignEngine()
    with pytest.raises(EngineUnreachable):
        await started_before_the_end(keeper, Ending(keeper, httpx.ConnectError), stopping)


class FailingOnce(Server):
    """Its first answer about the prompt's end is that it has failed."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = super().__call__(request)
        is_first = self.requested.count("/history/p") == 1
        return httpx.Response(500) if is_first and request.url.path == "/history/p" else answer


async def test_a_failed_look_at_the_history_is_no_end_of_the_prompt(
    stopping: asyncio.Event,
) -> None:
    server = FailingOnce(200)
    assert isinstance(await run(server, stopping), PromptSucceeded)
    assert server.requested.count("/history/p") > 1
