"""ComfyUI's HTTP API through a mock transport: the requests, and what each answer means."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gpu_worker.comfy.http import (
    MOST_TRIES,
    MOST_UNCHANGED,
    ComfyHttp,
    EngineError,
    EngineGone,
    EngineUnreachable,
    PromptRejected,
)
from gpu_worker.comfy.outcomes import NodeProblem
from gpu_worker.comfy.outputs import OutputFile
from tests.support import mocked_engine, recordings

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}}
FILE = OutputFile(node="9", filename="a b.png", subfolder="x/y", type="output", kind="image")

Answer = Callable[[httpx.Request], httpx.Response]


class Server:
    """Answers with `answer` and records the requests."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer
        self.http = ComfyHttp(mocked_engine.session(self))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer(request)

    @property
    def bodies(self) -> list[tuple[str, Any]]:
        return [(r.url.path, json.loads(r.content)) for r in self.requests]


def answering(status: int = 200, **keywords: Any) -> Server:
    return Server(lambda _request: httpx.Response(status, **keywords))


def refusing(error: Exception) -> Server:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise error

    return Server(refuse)


async def submit(server: Server) -> tuple[NodeProblem, ...]:
    return await server.http.submit(GRAPH, prompt_id="p", client_id="c", extra_data={"x": 1})


async def test_submit_sends_the_chosen_ids_and_extra_data() -> None:
    server = answering(json={"prompt_id": "p", "number": 1, "node_errors": {}})
    await submit(server)
    body = {"prompt": GRAPH, "prompt_id": "p", "client_id": "c", "extra_data": {"x": 1}}
    assert server.bodies == [("/prompt", body)]


async def test_a_graph_is_sent_as_comfyui_reads_it() -> None:
    server = answering(json={"prompt_id": "p", "number": 1, "node_errors": {}})
    graph = {
        "2": {"class_type": "X", "inputs": {"b": 1, "a": 2}, "is_changed": [math.nan, math.inf]},
        "1": {"class_type": "Y", "inputs": {"text": "cut \ud83d"}},
    }
    await server.http.submit(graph, prompt_id="p", client_id="c", extra_data={"x": "\udc00"})
    (request,) = server.requests
    assert request.headers["content-type"] == "application/json"
    sent = json.loads(request.content)
    assert repr(sent["prompt"]) == repr(graph)  # NaN is unequal to itself; the order is kept
    assert sent["extra_data"] == {"x": "\udc00"}


async def test_the_errors_of_outputs_that_are_left_out_are_returned() -> None:
    problem = {"type": "required_input_missing", "message": "Required", "details": "images"}
    answer = {
        "prompt_id": "p",
        "node_errors": {"4": {"class_type": "SaveImage", "errors": [problem]}},
    }
    (found,) = await submit(answering(json=answer))
    assert (found.node_id, found.node_type, found.type) == (
        "4",
        "SaveImage",
        "required_input_missing",
    )


REFUSED = [
    (event["status"], event["response_json"])
    for event in recordings.load("validation_errors")
    if event["kind"] == "http"
    and event["path"] == "/prompt"
    and event.get("status") == 400
    and isinstance(event.get("response_json"), dict)
]


@pytest.mark.parametrize(("status", "body"), REFUSED)
async def test_each_recorded_refusal_keeps_its_type_and_problems(status: int, body: Any) -> None:
    with pytest.raises(PromptRejected) as rejected:
        await submit(answering(status, json=body))
    assert rejected.value.type == body["error"]["type"]
    assert rejected.value.message
    in_nodes = sum(len(node["errors"]) for node in body["node_errors"].values())
    names_a_node = "node_id" in body["error"]["extra_info"]  # a class that is not installed
    assert len(rejected.value.problems) == in_nodes + names_a_node


async def test_a_node_class_that_is_not_installed_is_reported_with_its_node() -> None:
    (body,) = [body for _, body in REFUSED if "NoSuchNode" in body["error"]["message"]]
    with pytest.raises(PromptRejected) as rejected:
        await submit(answering(400, json=body))
    (problem,) = rejected.value.problems
    assert (problem.node_id, problem.node_type) == ("1", "NoSuchNode")


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "plain text", "node_errors": {}},
        {"error": None, "node_errors": None},
        {"error": {"type": 1}, "node_errors": {"1": None}},
        {"error": {}, "node_errors": {"1": {"errors": None}}},
        {"error": {}, "node_errors": {"1": {"errors": ["text", {"extra_info": "x"}]}}},
        {"error": {}, "node_errors": [1]},
    ],
)
async def test_a_refusal_of_any_shape_is_a_rejection(answer: Any) -> None:
    with pytest.raises(PromptRejected):
        await submit(answering(400, json=answer))


@pytest.mark.parametrize("status", [301, 404, 413, 500, 503])
async def test_any_other_status_is_an_engine_error(status: int) -> None:
    with pytest.raises(EngineError, match=str(status)):
        await submit(answering(status, text="500 Internal Server Error"))


@pytest.mark.parametrize("text", ["", "not json", "[]", "null", '"text"', "1"])
async def test_an_answer_that_is_not_an_object_is_an_engine_error(text: str) -> None:
    server = answering(text=text)
    with pytest.raises(EngineError):
        await server.http.history("p")
    with pytest.raises(EngineError):
        await server.http.queue()


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        httpx.RemoteProtocolError("cut"),
        httpx.PoolTimeout("full"),
    ],
)
async def test_no_answer_is_unreachable(error: Exception) -> None:
    server = refusing(error)
    with pytest.raises(EngineUnreachable):
        await submit(server)
    with pytest.raises(EngineUnreachable):
        await server.http.queue()
    with pytest.raises(EngineUnreachable):
        [chunk async for chunk in server.http.view(FILE)]


@pytest.mark.parametrize(
    ("queue", "running", "pending"),
    [
        ({"queue_running": [[1, "p", {}, {}, []]], "queue_pending": []}, {"p"}, set()),
        ({"queue_running": [], "queue_pending": [[1, "q"], [2, "p"]]}, set(), {"p", "q"}),
        ({}, set(), set()),
        ({"queue_running": [[], [1], "p", None, [1, {}]], "queue_pending": 1}, set(), set()),
    ],
)
async def test_the_queue_has_the_prompts_that_run_and_wait(
    queue: Any, running: set[str], pending: set[str]
) -> None:
    found = await answering(json=queue).http.queue()
    assert (found.running, found.pending) == (running, pending)


async def test_a_refused_connection_differs_from_a_late_answer() -> None:
    with pytest.raises(EngineGone):
        await refusing(httpx.ConnectError("refused")).http.queue()
    with pytest.raises(EngineUnreachable) as late:
        await refusing(httpx.ReadTimeout("late")).http.queue()
    assert not isinstance(late.value, EngineGone)


async def test_a_history_entry_may_hold_bare_nan() -> None:
    server = answering(text='{"p": {"outputs": {"1": {"v": [NaN, Infinity]}}}}')
    entry = await server.http.history("p")
    assert entry is not None
    assert entry["outputs"]["1"]["v"][1] == float("inf")


@pytest.mark.parametrize("text", ["{}", '{"other": {}}', '{"p": null}', '{"p": []}'])
async def test_no_history_entry_is_none(text: str) -> None:
    assert await answering(text=text).http.history("p") is None


class Chain:
    """A queue in which one prompt at a time runs and one waits, and its answers to requests."""

    def __init__(self, *queues: tuple[str, str]) -> None:
        """`queues`: the prompt that runs and the one that waits, at each look; then none."""
        self._queues = iter(queues)
        self.server = Server(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        ids = next(self._queues, ()) if request.method == "GET" else ()
        entries = [[[0, each, {}, {}, []]] for each in ids] or [[], []]
        return httpx.Response(200, json=dict(zip(KINDS, entries, strict=True)))

    async def remove(self) -> None:
        queue = await self.server.http.queue()
        await self.server.http.remove(lambda queue: queue.all - {"other"}, queue)

    @property
    def asked(self) -> list[Any]:
        bodies = [json.loads(r.content) for r in self.server.requests if r.method == "POST"]
        return [body.get("delete", body.get("prompt_id")) for body in bodies]


KINDS = ("queue_running", "queue_pending")


async def test_of_the_selected_prompts_those_that_wait_are_deleted_before_one_that_runs_ends() -> (
    None
):
    chain = Chain(("runs", "waits"))
    await chain.remove()
    assert chain.asked == [["waits"], "runs"]


async def test_other_prompts_are_neither_deleted_nor_interrupted() -> None:
    chain = Chain(("other", "waits"), ("runs", "other"))
    await chain.remove()
    assert chain.asked == [["waits"], "runs"]


async def test_prompts_that_queue_each_other_are_removed_for_as_long_as_new_ones_come() -> None:
    chain = Chain(("a", "b"), ("b", "c"), ("c", "d"))
    await chain.remove()
    assert chain.asked == [["b"], "a", ["c"], "b", ["d"], "c"]


async def test_the_removal_of_an_endless_chain_returns() -> None:
    chain = Chain(*((str(n), str(n + 1)) for n in range(1_000)))
    await chain.remove()
    assert chain.asked[-1] == str(MOST_TRIES - 1)


async def test_a_prompt_that_ignores_an_interrupt_is_not_asked_without_end() -> None:
    chain = Chain(*[("a", "other")] * 1_000)
    await chain.remove()
    assert chain.asked == ["a"] * MOST_UNCHANGED


async def test_forgetting_deletes_one_history_entry() -> None:
    server = answering()
    await server.http.forget("p")
    assert server.bodies == [("/history", {"delete": ["p"]})]


async def test_a_file_is_requested_by_name_folder_and_type() -> None:
    server = answering(content=b"pixels")
    assert b"".join([chunk async for chunk in server.http.view(FILE)]) == b"pixels"
    (request,) = server.requests
    assert dict(request.url.params) == {
        "filename": "a b.png",
        "subfolder": "x/y",
        "type": "output",
    }


async def test_a_missing_file_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="404"):
        [chunk async for chunk in answering(404).http.view(FILE)]
