"""Plays a recorded conversation with a real ComfyUI against the simulator, and compares the two.

The player sends the recorded requests, and opens and closes the recorded sockets, in the recorded
order. Before each action it waits for the messages that came before the action in the recording.
Then the answers and the messages must be the recorded ones, except for the values that
`tests.support.recordings` masks.
"""

from __future__ import annotations

import asyncio
import io
import json
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.contract.comfyui_sim.differences import (
    FOREIGN_KEYS,
    LAST_WORDS,
    SHAPE_ONLY,
)
from tests.contract.comfyui_sim.files import file_names, form
from tests.contract.comfyui_sim.servers import Connection, InProcess, Process
from tests.contract.comfyui_sim.warm_up import graph_before
from tests.support import recordings
from tests.support.eventually import WITHIN
from tests.support.recordings import Ids, Steps

MESSAGE_LIMIT_OF_AIOHTTP = 4 * 2**20  # the default of its websocket client
STEPS_BEFORE_AN_ACTION = 2
# With so many requests while one node runs that the node would end before the last of them on a
# busy machine.
HELD = {"priority_number_front"}


class Player:
    """Plays one recording against one server, and compares answers and messages with it."""

    def __init__(self, name: str, server: InProcess | Process, base: Path) -> None:
        self.name = name
        self.events = recordings.load(name)
        self.server = server
        self.base = str(base)
        self.there, self.here = Ids(), Ids()  # of the recorded server, and of this one
        self.replaced: dict[
            str, str
        ] = {}  # prompt ids and file names of the recording: those of this run
        self.connections: dict[str, Connection] = {}
        self.recorded: dict[str, list[dict[str, Any]]] = {}
        self.news = asyncio.Condition()
        self.session: aiohttp.ClientSession

    async def play(self) -> None:
        async with AsyncExitStack() as stack:
            url = await self.server.start()
            stack.push_async_callback(self.server.stop)
            self.session = await stack.enter_async_context(aiohttp.ClientSession(url))
            await self.warm_up()
            for event in self.events:
                await getattr(self, f"on_{event['kind']}")(event)
            await self.finish()

    def hold(self, held: bool) -> None:
        """Let no node begin while `held`, if the recording needs that."""
        if isinstance(self.server, InProcess) and self.name in HELD:
            self.server.hold(held)

    # --- before the recording

    async def warm_up(self) -> None:
        """Fill the cache with the results that the first prompt of the recording found in it."""
        graph = graph_before(self.name, self.events)
        if graph is None:
            return
        answer = await self.session.post("/prompt", json={"prompt": graph})
        assert answer.status == 200
        prompt_id = (await answer.json())["prompt_id"]
        await self.eventually(f"/history/{prompt_id}", bool)

    async def eventually(self, path: str, holds: Callable[[Any], bool]) -> Any:
        self.hold(False)
        async with asyncio.timeout(WITHIN):
            while True:
                answer = await self.session.get(path)
                if holds(content := await answer.json()):
                    return content
                await asyncio.sleep(0.01)

    # --- events

    async def on_ws_open(self, event: dict[str, Any]) -> None:
        await self.caught_up()
        greeting = next(
            later["json"]
            for later in self.events
            if later.get("conn") == event["conn"] and "json" in later and later["dir"] == "recv"
        )
        remaining = greeting["data"]["status"]["exec_info"]["queue_remaining"]
        await self.eventually(
            "/prompt", lambda content: content["exec_info"]["queue_remaining"] == remaining
        )
        limit = MESSAGE_LIMIT_OF_AIOHTTP if event["conn"] == "D4" else 0
        socket = await self.session.ws_connect(event["request"].split()[1], max_msg_size=limit)
        self.connections[event["conn"]] = Connection(socket, self.news)
        self.recorded[event["conn"]] = []

    async def on_ws(self, event: dict[str, Any]) -> None:
        if event["dir"] == "send":
            await self.connections[event["conn"]].socket.send_json(event["json"])
        else:
            self.recorded[event["conn"]].append(event)

    async def on_ws_close(self, event: dict[str, Any]) -> None:
        label = event["conn"]
        connection = self.connections[label]
        await self.caught_up()
        self.hold(False)
        if event["by"] == "client":
            await self.nothing_more(label)
            await connection.close(abort=event["abort"])
        else:
            async with self.news:
                await asyncio.wait_for(self.news.wait_for(lambda: connection.ended), WITHIN)
            assert connection.socket.close_code == event["code"]
        self.compare(label)
        del self.connections[label]

    async def on_note(self, event: dict[str, Any]) -> None:
        await self.caught_up()
        self.hold(False)
        text = event["text"]
        if text in ("SIGKILL", "SIGTERM"):
            assert isinstance(self.server, Process)
            await self.server.kill(signal.Signals[text])
        elif text == "restart begins":
            await self.server.start()
        elif text == "output file removed on disk":
            for path in (Path(self.base) / "output").glob("gone_*"):
                path.unlink()

    async def on_http(self, event: dict[str, Any]) -> None:
        await self.caught_up()
        if "client_error" in event:
            await self.refused(event)
            return
        self.hold(True)
        problem = await self.difference(event, await self.request(event))
        if problem and event["method"] == "GET":
            self.hold(False)
            deadline = time.monotonic() + WITHIN
            while problem and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
                problem = await self.difference(event, await self.request(event))
        there, here = problem or (None, None)
        assert here == there, f"{event['method']} {event['path']}"

    # --- requests and answers

    async def request(self, event: dict[str, Any]) -> aiohttp.ClientResponse:
        data: Any = None
        headers = event.get("request_headers")
        if "request_form" in event:
            data = form(event)
        elif "request_json" in event:
            data = json.dumps(self.translate(event["request_json"]))
            headers = {"Content-Type": "application/json"}
        elif "request_body" in event:
            data = event["request_body"]
            if data.endswith(" bytes>"):
                data = io.BytesIO(b"x" * int(data[1:].split()[0]))
        path = self.translate(event["path"])
        return await self.session.request(event["method"], path, data=data, headers=headers)

    async def refused(self, event: dict[str, Any]) -> None:
        """The server has ended or is about to end, so the request must fail in the end."""
        self.hold(False)
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(self.repeat_request(event), WITHIN)

    async def repeat_request(self, event: dict[str, Any]) -> None:
        while True:
            await (await self.request(event)).read()
            await asyncio.sleep(0.02)

    async def difference(
        self, event: dict[str, Any], answer: aiohttp.ClientResponse
    ) -> tuple[Any, Any] | None:
        """None if the answer is the recorded one, else the recorded and the actual answer."""
        body = await answer.read()
        there: list[Any] = [event["status"]]
        here: list[Any] = [answer.status]
        if event["status"] != 404:
            there.append(event["response_headers"].get("Content-Type"))
            here.append(answer.headers.get("Content-Type") if there[-1] else None)
        if "response_json" in event:
            content = json.loads(body)
            if event["path"] == "/prompt" and event["method"] == "POST" and answer.status == 200:
                self.same_prompt(event["response_json"]["prompt_id"], content["prompt_id"])
            there.append(self.masked(event, event["response_json"], self.there, "<base>"))
            here.append(self.masked(event, content, self.here, self.base))
        elif "response_body_info" in event:
            there.append(event["response_body_info"]["head_hex"][:8])
            here.append(body[:4].hex())
        elif event["status"] != 404:
            there.append(event["response_body"])
            here.append(body.decode())
        return None if there == here else (there, here)

    def masked(self, event: dict[str, Any], content: Any, ids: Ids, base: str) -> Any:
        if event["path"].startswith(SHAPE_ONLY) and event["path"] != "/models/checkpoints":
            return recordings.shape(content)
        value = recordings.normal(content, ids, base)
        return _without(value, FOREIGN_KEYS.get(self.name, set()))

    def same_prompt(self, there: str, here: str) -> None:
        self.there.learn(there)
        self.here.learn(here)
        self.replaced[there] = here

    def translate(self, value: Any) -> Any:
        """The request with the ids and file names of this run."""
        for label, messages in self.recorded.items():
            if label in self.connections:
                here = self.connections[label].messages
                self.replaced |= file_names(messages, here, self.replaced)
        text = value if isinstance(value, str) else json.dumps(value)
        for there, here_name in self.replaced.items():
            text = text.replace(there, here_name)
        return text if isinstance(value, str) else json.loads(text)

    # --- messages

    async def caught_up(self) -> None:
        """Wait until the open connections received all messages that were recorded so far."""
        for label, connection in self.connections.items():
            if self.has_all(label, connection):
                continue
            self.hold(False)
            async with self.news:
                try:
                    await asyncio.wait_for(
                        self.news.wait_for(lambda: self.has_all(label, connection)),  # noqa: B023
                        WITHIN,
                    )
                except TimeoutError:
                    self.compare(label)
                    raise

    def has_all(self, label: str, connection: Connection) -> bool:
        there = self.recorded_story(label)
        here = recordings.story(connection.messages, self.here, self.base)
        statuses = recordings.statuses
        enough = len(statuses(connection.messages)) >= len(statuses(self.recorded[label]))
        if not enough or len(here) < len(there):
            return False
        last = here[len(there) - 1] if there else None
        return not isinstance(last, Steps) or last.count >= STEPS_BEFORE_AN_ACTION

    def recorded_story(self, label: str) -> list[Any]:
        return recordings.story(self.recorded[label], self.there, "<base>")

    async def nothing_more(self, label: str) -> None:
        """Check that no further message follows where the recorded server was idle."""
        messages = self.connections[label].messages
        if isinstance(self.server, Process) or not messages or self.name.startswith("websocket_"):
            return
        self.server.sentinel()
        async with self.news:
            await asyncio.wait_for(
                self.news.wait_for(lambda: messages[-1].get("json", {}).get("type") == "sentinel"),
                WITHIN,
            )
        messages.pop()

    def compare(self, label: str) -> None:
        connection, recorded = self.connections[label], self.recorded[label]
        here = [_comparable(entry) for entry in self.actual_story(connection)]
        there = [_comparable(entry) for entry in self.recorded_story(label)]
        if self.name in LAST_WORDS:
            assert here[len(there) :] == LAST_WORDS[self.name]
            here = here[: len(there)]
        assert here == there, f"messages on {label}"
        if not self.name.startswith("websocket_"):
            assert recordings.statuses(connection.messages) == recordings.statuses(recorded)
        _assert_order_at_the_end(connection.messages)

    def actual_story(self, connection: Connection) -> list[Any]:
        return recordings.story(connection.messages, self.here, self.base)

    async def finish(self) -> None:
        await self.caught_up()
        for label in list(self.connections):
            self.compare(label)
            await self.connections.pop(label).close(abort=False)


def _comparable(entry: Any) -> Any:
    return (entry.pattern, entry.facts) if isinstance(entry, Steps) else entry


def _assert_order_at_the_end(messages: list[dict[str, Any]]) -> None:
    """After a terminal message come `status` and, for the prompt's client, `executing` null."""
    kinds = [message["json"]["type"] for message in messages if "json" in message]
    for index, kind in enumerate(kinds):
        if kind in ("execution_success", "execution_error"):
            assert kinds[index + 1 : index + 3] == ["status", "executing"]


def _without(value: Any, keys: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, keys) for key, item in value.items() if key not in keys}
    return value
