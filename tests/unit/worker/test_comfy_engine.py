"""What the engine is asked when it refuses a graph, and no more."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from gpu_worker.comfy import engine as module
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.http import ComfyHttp, PromptRejected
from gpu_worker.comfy.keeper import ForeignEngine

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}}
ONE_IS_WRONG = {
    "node_errors": {"1": {"class_type": "X", "errors": [{"type": "t", "message": "m"}]}}
}


@pytest.mark.parametrize(
    ("status", "cancels"),
    [
        (400, []),  # nothing was queued
        (200, ["/queue", "/interrupt"]),  # the outputs that are right have been
    ],
)
async def test_only_what_was_queued_is_cancelled(
    status: int, cancels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(status if request.url.path == "/prompt" else 200, json=ONE_IS_WRONG)

    monkeypatch.setattr(module, "SOCKET_SECONDS", 0.0)
    client = httpx.AsyncClient(base_url="http://engine", transport=httpx.MockTransport(answer))
    engine = ComfyEngine(ComfyHttp(client), "ws://engine", ForeignEngine())
    with pytest.raises(PromptRejected):
        await engine.run(GRAPH, "p", on_event=lambda _event: None, cancel=asyncio.Event())
    assert asked == ["/prompt", *cancels]
