"""A client that stops reading stops the delivery to all clients, as in a real ComfyUI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from tests.contract.comfyui_sim.servers import Connection, unexpected_exit
from tests.support import recordings
from tests.support.eventually import WITHIN


@asynccontextmanager
async def simulator(tmp_path: Path) -> AsyncIterator[tuple[Simulator, aiohttp.ClientSession]]:
    options = Options(data_dir=tmp_path, port=0, step_ms=10.0, start_window_ms=15.0)
    async with (
        Simulator(options, exit_process=unexpected_exit) as running,
        aiohttp.ClientSession(running.url) as session,
    ):
        yield running, session


async def test_a_stalled_reader_stops_delivery_to_all(tmp_path: Path) -> None:
    """As in the recording of that name: prompts run, and their messages wait for the reader."""
    posts = [
        event["request_json"]
        for event in recordings.load("stalled_reader")
        if event.get("path") == "/prompt"
    ]
    async with simulator(tmp_path) as (running, session):
        stalled_id, other_id = posts[0]["client_id"], posts[1]["client_id"]
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
        writer.write(_upgrade_request(stalled_id))
        await reader.readuntil(b"\r\n\r\n")
        news = asyncio.Condition()
        socket = await session.ws_connect(f"/ws?clientId={other_id}", max_msg_size=0)
        other = Connection(socket, news)
        ids = [
            (await (await session.post("/prompt", json=post)).json())["prompt_id"] for post in posts
        ]
        async with asyncio.timeout(WITHIN):
            while ids[1] not in await (await session.get("/history")).json():
                await asyncio.sleep(0.01)
        heard = [message["json"] for message in other.messages]
        assert [message["type"] for message in heard] == ["status"] * len(heard)
        writer.transport.abort()
        async with news:
            await asyncio.wait_for(
                news.wait_for(lambda: other.messages[-1]["json"] == _ended(ids[1])), WITHIN
            )
        await other.close(abort=False)


def _ended(prompt_id: str) -> dict[str, Any]:
    return {"type": "executing", "data": {"node": None, "prompt_id": prompt_id}}


def _upgrade_request(client_id: str) -> bytes:
    return (
        f"GET /ws?clientId={client_id} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
