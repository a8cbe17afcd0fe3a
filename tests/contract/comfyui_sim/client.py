"""A client of the simulator."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import aiohttp
from PIL import Image

from tests.support import recordings
from tests.support.eventually import WITHIN


class Client:
    """A client with one websocket, which keeps all messages."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.messages: list[Any] = []
        self.close_code: int | None = None
        self._news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def listen(self, *, handshake: bool = False) -> None:
        socket = await self.session.ws_connect("/ws?clientId=me", max_msg_size=0)
        if handshake:
            flags = {"supports_preview_metadata": True}
            await socket.send_json({"type": "feature_flags", "data": flags})
        self._task = asyncio.create_task(self._read(socket))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            is_text = message.type == aiohttp.WSMsgType.TEXT
            async with self._news:
                self.messages.append(json.loads(message.data) if is_text else message.data)
                self._news.notify_all()
        async with self._news:
            self.close_code = socket.close_code
            self._news.notify_all()

    async def until(self, kind: str) -> Any:
        """Wait for the first message of a kind."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: kind in self.kinds), WITHIN)
        return self.messages[self.kinds.index(kind)]

    async def until_closed(self) -> int:
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: self.close_code is not None), WITHIN)
        assert self.close_code is not None
        return self.close_code

    @property
    def kinds(self) -> list[str]:
        return [each["type"] if isinstance(each, dict) else "binary" for each in self.messages]

    async def faults(self, **change: Any) -> dict[str, Any]:
        answer = await self.session.post("/sim/faults", json=change)
        assert answer.status == 200
        content: dict[str, Any] = await answer.json()
        return content

    async def submit(self, graph: dict[str, Any], **fields: Any) -> str:
        body = {"prompt": graph, "client_id": "me", **fields}
        answer = await self.session.post("/prompt", json=body)
        assert answer.status == 200
        prompt_id: str = (await answer.json())["prompt_id"]
        return prompt_id

    async def get(self, path: str) -> Any:
        return await (await self.session.get(path)).json()

    async def result(self, prompt_id: str) -> dict[str, Any]:
        """Wait for the history entry."""
        async with asyncio.timeout(WITHIN):
            while not (history := await self.get(f"/history/{prompt_id}")):
                await asyncio.sleep(0.005)
        entry: dict[str, Any] = history[prompt_id]
        return entry

    async def picture(self, graph: dict[str, Any]) -> Image.Image:
        """The first image that a graph saves."""
        entry = await self.result(await self.submit(graph))
        images = [image for ui in entry["outputs"].values() for image in ui["images"]]
        answer = await self.session.get("/view", params=images[0])
        return Image.open(io.BytesIO(await answer.read()))


def sampling(**sampler: Any) -> dict[str, Any]:
    """A text-to-image graph with these inputs of its sampler."""
    graph = recordings.workflow("sd15_tiny_txt2img")
    graph["5"]["inputs"] |= sampler
    return graph
