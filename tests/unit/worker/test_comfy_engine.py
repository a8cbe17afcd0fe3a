"""What the engine is sent with a graph, and which requests follow if it refuses the graph."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from gpu_worker.comfy import engine as module
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.http import ComfyHttp, PromptRejected
from gpu_worker.comfy.keeper import ForeignEngine

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}}
ONE_WRONG_NODE = {
    "node_errors": {"1": {"class_type": "X", "errors": [{"type": "t", "message": "m"}]}}
}


@pytest.mark.parametrize(
    ("pnginfo", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"workflow": {"nodes": []}}, {"extra_pnginfo": {"workflow": {"nodes": []}}}),
    ],
)
async def test_only_what_goes_into_pictures_is_passed_on(
    pnginfo: Any, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(400, json=ONE_WRONG_NODE)

    monkeypatch.setattr(module, "SOCKET_SECONDS", 0.0)
    client = httpx.AsyncClient(base_url="http://engine", transport=httpx.MockTransport(answer))
    engine = ComfyEngine(ComfyHttp(client), "ws://engine", ForeignEngine())
    with pytest.raises(PromptRejected):
        await engine.run(
            GRAPH,
            "p",
            on_event=lambda _event: None,
            cancel=asyncio.Event(),
            extra_pnginfo=pnginfo,
        )
    sent = json.loads(requests[0].content)["extra_data"]
    assert sent == {"preview_method": "none", **expected}


@pytest.mark.parametrize(
    ("status", "cancels"),
    [
        (400, []),  # nothing was queued
        (200, ["/queue", "/interrupt"]),  # the outputs that are valid were queued
    ],
)
async def test_a_refused_prompt_is_canceled_only_if_it_was_queued(
    status: int, cancels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requested: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requested.append(request.url.path)
        return httpx.Response(status if request.url.path == "/prompt" else 200, json=ONE_WRONG_NODE)

    monkeypatch.setattr(module, "SOCKET_SECONDS", 0.0)
    client = httpx.AsyncClient(base_url="http://engine", transport=httpx.MockTransport(answer))
    engine = ComfyEngine(ComfyHttp(client), "ws://engine", ForeignEngine())
    with pytest.raises(PromptRejected):
        await engine.run(GRAPH, "p", on_event=lambda _event: None, cancel=asyncio.Event())
    assert requested == ["/prompt", *cancels]
