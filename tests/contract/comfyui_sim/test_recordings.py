"""The simulator against the conversations recorded with a real ComfyUI 0.33.

Each recording is played: its requests are sent, its sockets opened and closed, in its order; an
action waits until the messages that came before it in the recording have come here too. Then the
answers and the messages must be the recorded ones, but for what `tests.support.recordings` masks.
"""

from __future__ import annotations

import asyncio
import copy
import io
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from PIL import Image

from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from tests.support import recordings
from tests.support.recordings import Ids, Steps

WAIT_S = 15.0
MESSAGE_LIMIT_OF_AIOHTTP = 4 * 2**20  # of its websocket client by default
STEPS_BEFORE_AN_ACTION = 2
CHECKPOINTS = ("random-sd15-tiny.safetensors", "random-sd15.safetensors")
OPTIONS: dict[str, Any] = {
    "port": 0,
    "checkpoints": CHECKPOINTS,
    "step_ms": 10.0,
    "start_window_ms": 15.0,  # so that a GET right after the POST still finds nothing
    "time_scale": 0.25,
}
OPTIONS_OF: dict[str, dict[str, Any]] = {
    "cancel_lost_right_after_submit_cancel": {"start_window_ms": 300.0},
}

# The server ends in these; they are played against a process of its own.
DEADLY = {
    "hostile_request_fields",
    "server_dies_inside_a_node",
    "server_killed_mid_run",
    "server_sigterm_mid_run",
    "unserialisable_ui_output",
}
# Played by a test of their own, named here.
DRIVEN = {"stalled_reader": "test_a_stalled_reader_stops_delivery_to_all"}
EXCUSED: dict[str, str] = {}  # name: why it cannot be played
PLAYED = sorted(set(recordings.names()) - set(DRIVEN) - set(EXCUSED))


def _node(node_id: str, value: float, state: str) -> dict[str, Any]:
    names = dict.fromkeys(("node_id", "display_node_id", "real_node_id"), node_id)
    facts = {"value": value, "max": 1.0, "state": state, "prompt_id": "#0"}
    return {**facts, **names, "parent_node_id": None}


# Nodes that the recorded server had in its cache although no message of the recording says so.
CACHED_BEFORE = {
    "no_client_id_progress_broadcast": ["1", "2", "3", "4"],
    "no_websocket_client": ["1", "2", "3"],
}
# The recorded process ended before its last messages were out; the simulator lets them out, so that
# the last `executing` names the culprit, as it does when a node works for a while before it dies.
LAST_WORDS: dict[str, list[Any]] = {
    "server_dies_inside_a_node": [
        {
            "type": "progress_state",
            "data": {
                "prompt_id": "#0",
                "nodes": {
                    "1": _node("1", 1.0, "finished"),
                    "2": _node("2", 0.0, "running"),
                },
            },
        },
        {"type": "executing", "data": {"node": "2", "display_node": "2", "prompt_id": "#0"}},
    ]
}
# Facts about the recorded server's earlier life or its machine, not about the protocol.
SHAPE_ONLY = ("/object_info", "/system_stats", "/models")
FOREIGN_KEYS = {"jobs_api": {"total", "has_more"}}


def test_every_recording_is_played_or_excused() -> None:
    assert len(recordings.names()) == 42
    assert set(PLAYED) | set(DRIVEN) | set(EXCUSED) == set(recordings.names())
    assert all(test in globals() for test in DRIVEN.values())
    assert set(PLAYED) >= DEADLY


class InProcess:
    """A simulator in this process."""

    def __init__(self, options: Options) -> None:
        self._simulator = Simulator(options, exit_process=_unexpected_exit)

    async def start(self) -> str:
        await self._simulator.__aenter__()
        return self._simulator.url

    async def stop(self) -> None:
        await self._simulator.__aexit__()

    def sentinel(self) -> None:
        """Send to all sockets a message after which nothing of the recording can come."""
        self._simulator.engine.hub.send("sentinel", {})


def _unexpected_exit(status: int) -> None:
    raise AssertionError(f"the simulator wanted to exit with {status}")


class Process:
    """A simulator in a process of its own, which may die."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0

    async def start(self) -> str:
        flags = {
            "--data-dir": self._options.data_dir,
            "--port": self._port,
            "--step-ms": self._options.step_ms,
            "--start-window-ms": self._options.start_window_ms,
            "--time-scale": self._options.time_scale,
        }
        words = [str(word) for pair in flags.items() for word in pair]
        words += [word for name in self._options.checkpoints for word in ("--checkpoint", name)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "comfyui_sim", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), WAIT_S)
        url = line.decode().split()[-1]
        self._port = urlsplit(url).port or 0
        return url

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        await asyncio.wait_for(self._process.wait(), WAIT_S)

    stop = kill

    def sentinel(self) -> None:
        raise AssertionError("only for a simulator in this process")


class Connection:
    """A websocket, what it received, and the task that reads it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, news: asyncio.Condition) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.ended = False
        self._news = news
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            message = await self.socket.receive()
            async with self._news:
                if message.type == aiohttp.WSMsgType.TEXT:
                    self.messages.append({"json": json.loads(message.data)})
                elif message.type == aiohttp.WSMsgType.BINARY:
                    self.messages.append({"binary": recordings.describe_frame(message.data)})
                else:
                    self.ended = True
                self._news.notify_all()
            if self.ended:
                return

    async def close(self, *, abort: bool) -> None:
        if abort:
            transport = self.socket.get_extra_info("socket")
            assert transport is not None
            response = self.socket._response.connection
            assert response is not None
            assert response.transport is not None
            response.transport.abort()
        else:
            self._task.cancel()
            await self.socket.close()
        await asyncio.gather(self._task, return_exceptions=True)


class Player:
    """Plays one recording against one server and compares on the way."""

    def __init__(self, name: str, server: InProcess | Process, base: Path) -> None:
        self.name = name
        self.events = recordings.load(name)
        self.server = server
        self.base = str(base)
        self.there, self.here = Ids(), Ids()  # the recorded server, this one
        self.replaced: dict[str, str] = {}  # recorded prompt id or file name: ours
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

    # What the recorded server had done before

    async def warm_up(self) -> None:
        """Bring into the cache what the first prompt of the recording found there."""
        posts = (event for event in self.events if event.get("path") == "/prompt")
        first = next((event for event in posts if event["method"] == "POST"), None)
        cached = self.cached_before(first)
        if first is None or not cached:
            return
        graph = copy.deepcopy(first["request_json"]["prompt"])
        for node_id, node in graph.items():
            if node_id not in cached and not _links(node) - set(cached):
                _vary(node["inputs"])
        answer = await self.session.post("/prompt", json={"prompt": graph})
        assert answer.status == 200
        prompt_id = (await answer.json())["prompt_id"]
        await self.eventually(f"/history/{prompt_id}", bool)

    def cached_before(self, first: dict[str, Any] | None) -> list[str]:
        if self.name in CACHED_BEFORE or first is None:
            return CACHED_BEFORE.get(self.name, [])
        prompt_id = first.get("response_json", {}).get("prompt_id")
        for event in self.events:
            content = event.get("json", {})
            if content.get("type") == "execution_cached" and event["kind"] == "ws":
                if content["data"]["prompt_id"] != prompt_id:
                    return []
                return list(content["data"]["nodes"])
        return []

    async def eventually(self, path: str, holds: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(WAIT_S):
            while True:
                answer = await self.session.get(path)
                if holds(content := await answer.json()):
                    return content
                await asyncio.sleep(0.01)

    # Events

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
        if event["by"] == "client":
            await self.nothing_more(label)
            await connection.close(abort=event["abort"])
        else:
            async with self.news:
                await asyncio.wait_for(self.news.wait_for(lambda: connection.ended), WAIT_S)
            assert connection.socket.close_code == event["code"]
        self.compare(label)
        del self.connections[label]

    async def on_note(self, event: dict[str, Any]) -> None:
        await self.caught_up()
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
        problem = None
        for _ in range(100 if event["method"] == "GET" else 1):
            answer = await self.request(event)
            problem = await self.difference(event, answer)
            if problem is None:
                return
            await asyncio.sleep(0.02)
        there, here = problem or (None, None)
        assert here == there, f"{event['method']} {event['path']}"

    # Requests and answers

    async def request(self, event: dict[str, Any]) -> aiohttp.ClientResponse:
        data: Any = None
        headers = event.get("request_headers")
        if "request_form" in event:
            data = _form(event)
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
        """The server has died or is about to: the request must come to fail."""
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(self.ask_for_ever(event), WAIT_S)

    async def ask_for_ever(self, event: dict[str, Any]) -> None:
        while True:
            await (await self.request(event)).read()
            await asyncio.sleep(0.02)

    async def difference(
        self, event: dict[str, Any], answer: aiohttp.ClientResponse
    ) -> tuple[Any, Any] | None:
        """None if the answer is the recorded one, else what was recorded and what came."""
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
            there.append(self.judged(event, event["response_json"], self.there, "<base>"))
            here.append(self.judged(event, content, self.here, self.base))
        elif "response_body_info" in event:
            there.append(event["response_body_info"]["head_hex"][:8])
            here.append(body[:4].hex())
        elif event["status"] != 404:
            there.append(event["response_body"])
            here.append(body.decode())
        return None if there == here else (there, here)

    def judged(self, event: dict[str, Any], content: Any, ids: Ids, base: str) -> Any:
        if event["path"].startswith(SHAPE_ONLY) and event["path"] != "/models/checkpoints":
            return recordings.shape(content)
        masked = recordings.normal(content, ids, base)
        return _without(masked, FOREIGN_KEYS.get(self.name, set()))

    def same_prompt(self, there: str, here: str) -> None:
        self.there.learn(there)
        self.here.learn(here)
        self.replaced[there] = here

    def translate(self, value: Any) -> Any:
        """A request with the ids and file names of this run."""
        for label, messages in self.recorded.items():
            if label in self.connections:
                here = self.connections[label].messages
                self.replaced |= _file_names(messages, here, self.replaced)
        text = value if isinstance(value, str) else json.dumps(value)
        for there, here_name in self.replaced.items():
            text = text.replace(there, here_name)
        return text if isinstance(value, str) else json.loads(text)

    # Messages

    async def caught_up(self) -> None:
        """Wait until all that was recorded so far on the open connections has come."""
        for label, connection in self.connections.items():
            async with self.news:
                try:
                    await asyncio.wait_for(
                        self.news.wait_for(lambda: self.has_all(label, connection)),  # noqa: B023
                        WAIT_S,
                    )
                except TimeoutError:
                    self.compare(label)
                    raise

    def has_all(self, label: str, connection: Connection) -> bool:
        there = self.tale(label)
        here = recordings.story(connection.messages, self.here, self.base)
        statuses = recordings.statuses
        enough = len(statuses(connection.messages)) >= len(statuses(self.recorded[label]))
        if not enough or len(here) < len(there):
            return False
        last = here[len(there) - 1] if there else None
        return not isinstance(last, Steps) or last.count >= STEPS_BEFORE_AN_ACTION

    def tale(self, label: str) -> list[Any]:
        return recordings.story(self.recorded[label], self.there, "<base>")

    async def nothing_more(self, label: str) -> None:
        """Where the recording ends with an idle server, no message may follow."""
        messages = self.connections[label].messages
        if isinstance(self.server, Process) or not messages or self.name.startswith("websocket_"):
            return
        self.server.sentinel()
        async with self.news:
            await asyncio.wait_for(
                self.news.wait_for(lambda: messages[-1].get("json", {}).get("type") == "sentinel"),
                WAIT_S,
            )
        messages.pop()

    def compare(self, label: str) -> None:
        connection, recorded = self.connections[label], self.recorded[label]
        here = [_comparable(entry) for entry in self.here_tale(connection)]
        there = [_comparable(entry) for entry in self.tale(label)]
        if self.name in LAST_WORDS:
            assert here[len(there) :] == LAST_WORDS[self.name]
            here = here[: len(there)]
        assert here == there, f"messages on {label}"
        if not self.name.startswith("websocket_"):
            assert recordings.statuses(connection.messages) == recordings.statuses(recorded)
        _assert_order_at_the_end(connection.messages)

    def here_tale(self, connection: Connection) -> list[Any]:
        return recordings.story(connection.messages, self.here, self.base)

    async def finish(self) -> None:
        await self.caught_up()
        for label in list(self.connections):
            self.compare(label)
            await self.connections.pop(label).close(abort=False)


def _comparable(entry: Any) -> Any:
    return (entry.pattern, entry.facts) if isinstance(entry, Steps) else entry


def _assert_order_at_the_end(messages: list[dict[str, Any]]) -> None:
    """A terminal message is followed by `status` and, for its client, by `executing` null."""
    kinds = [message["json"]["type"] for message in messages if "json" in message]
    for index, kind in enumerate(kinds):
        if kind in ("execution_success", "execution_error"):
            assert kinds[index + 1 : index + 3] == ["status", "executing"]


def _links(node: Mapping[str, Any]) -> set[str]:
    return {value[0] for value in node["inputs"].values() if isinstance(value, list)}


def _vary(inputs: dict[str, Any]) -> None:
    """Change one widget, so that the node is another one for the cache."""
    name = next(
        name for name in ("seed", "nonce", "color", "width", "filename_prefix") if name in inputs
    )
    inputs[name] = inputs[name] + ("x" if name == "filename_prefix" else 64)


def _form(event: dict[str, Any]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, value in event["request_form"].items():
        if isinstance(value, str):
            form.add_field(name, value)
            continue
        content = _content(event, value)
        form.add_field(
            name, content, filename=value["filename"], content_type=value["content_type"]
        )
    return form


def _content(event: dict[str, Any], part: Mapping[str, Any]) -> io.BytesIO:
    if part["bytes"] > 1_000:
        return io.BytesIO(b"x" * part["bytes"])
    if part["filename"] == "not_an_image.png":
        return io.BytesIO(b"this is not an image.")
    # Other bytes where the recorded server kept both files or replaced the first.
    is_other = "(1)" in str(event.get("response_json")) or "overwrite" in event["request_form"]
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30) if is_other else (30, 30, 200)).save(buffer, "PNG")
    return io.BytesIO(buffer.getvalue())


def _file_names(
    there: list[dict[str, Any]], here: list[dict[str, Any]], replaced: Mapping[str, str]
) -> dict[str, str]:
    """Recorded file names and ours, from the `executed` messages of the same prompt and node."""
    ours = {(one["prompt_id"], one["node"]): one for one in _executed(here)}
    found: dict[str, str] = {}
    for recorded in _executed(there):
        same = ours.get((replaced.get(recorded["prompt_id"]), recorded["node"]))
        if same is not None:
            pairs = zip(_images(recorded), _images(same), strict=True)
            found |= {old["filename"]: new["filename"] for old, new in pairs}
    return found


def _executed(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    contents = (message["json"] for message in messages if "json" in message)
    return [content["data"] for content in contents if content["type"] == "executed"]


def _images(executed: dict[str, Any]) -> list[dict[str, Any]]:
    images: list[dict[str, Any]] = executed["output"].get("images", [])
    return images


def _without(value: Any, keys: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, keys) for key, item in value.items() if key not in keys}
    return value


@pytest.mark.parametrize("name", PLAYED)
async def test_recording(name: str, tmp_path: Path) -> None:
    options = Options(data_dir=tmp_path, **{**OPTIONS, **OPTIONS_OF.get(name, {})})
    server = Process(options) if name in DEADLY else InProcess(options)
    await Player(name, server, tmp_path).play()


@asynccontextmanager
async def simulator(tmp_path: Path) -> AsyncIterator[tuple[Simulator, aiohttp.ClientSession]]:
    options = Options(data_dir=tmp_path, **OPTIONS)
    async with (
        Simulator(options, exit_process=_unexpected_exit) as running,
        aiohttp.ClientSession(running.url) as session,
    ):
        yield running, session


async def test_a_stalled_reader_stops_delivery_to_all(tmp_path: Path) -> None:
    """The recording of that name: prompts go on, nobody hears of them until it goes away."""
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
        async with asyncio.timeout(WAIT_S):
            while ids[1] not in await (await session.get("/history")).json():
                await asyncio.sleep(0.01)
        heard = [message["json"] for message in other.messages]
        assert [one["type"] for one in heard] == ["status"] * len(heard)
        writer.transport.abort()
        async with news:
            await asyncio.wait_for(
                news.wait_for(lambda: other.messages[-1]["json"] == _ended(ids[1])), WAIT_S
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
