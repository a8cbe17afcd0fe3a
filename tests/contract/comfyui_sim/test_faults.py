"""The simulator's own switches (`/sim/*`), its guises and its pictures: nothing of ComfyUI's."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from comfyui_sim.engine import CACHED_RESULTS, ResultCache
from comfyui_sim.node_types import NodeResult
from comfyui_sim.options import OLD_VERSION, Options
from comfyui_sim.server import Simulator
from tests.support import recordings

WAIT_S = 10.0


class Client:
    """A client with one websocket that keeps all its messages."""

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
        """The first message of a kind, awaited."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: kind in self.kinds), WAIT_S)
        return self.messages[self.kinds.index(kind)]

    async def until_closed(self) -> int:
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: self.close_code is not None), WAIT_S)
        assert self.close_code is not None
        return self.close_code

    @property
    def kinds(self) -> list[str]:
        return [one["type"] if isinstance(one, dict) else "binary" for one in self.messages]

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
        """The history entry, awaited."""
        async with asyncio.timeout(WAIT_S):
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


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with (
        Simulator(Options(data_dir=tmp_path, port=0, step_ms=5)) as simulator,
        aiohttp.ClientSession(simulator.url) as session,
    ):
        yield Client(session)


def sampling(**sampler: Any) -> dict[str, Any]:
    graph = recordings.workflow("sd15_tiny_txt2img")
    graph["5"]["inputs"] |= sampler
    return graph


async def test_a_stalled_executor_leaves_prompts_pending_until_it_is_lifted(client: Client) -> None:
    assert (await client.faults(stall=True))["stall"] is True
    prompt_id = await client.submit(recordings.workflow("empty_image"))
    queue = await client.get("/queue")
    assert [entry[1] for entry in queue["queue_pending"]] == [prompt_id]
    assert queue["queue_running"] == []
    await client.faults(stall=False)
    assert (await client.result(prompt_id))["status"]["status_str"] == "success"


async def test_a_stall_in_the_middle_of_a_node_keeps_it_running(client: Client) -> None:
    await client.listen()
    prompt_id = await client.submit(sampling(steps=50))
    await client.until("progress")
    await client.faults(stall=True)
    await client.session.post("/interrupt", json={"prompt_id": prompt_id})
    queue = await client.get("/queue")
    assert [entry[1] for entry in queue["queue_running"]] == [prompt_id]
    await client.faults(stall=False)
    await client.until("execution_interrupted")


async def test_dropped_sockets_end_without_a_close_frame_and_the_prompt_goes_on(
    client: Client,
) -> None:
    await client.listen()
    prompt_id = await client.submit(sampling())
    await client.until("progress")
    await client.faults(drop_sockets=True)
    assert await client.until_closed() == 1006
    assert (await client.result(prompt_id))["status"]["completed"] is True


async def test_a_muted_socket_stays_open_and_nothing_is_replayed(client: Client) -> None:
    await client.listen()
    await client.until("status")
    await client.faults(mute_sockets=True)
    await client.result(await client.submit(recordings.workflow("empty_image")))
    await client.faults(mute_sockets=False)
    second = await client.submit(recordings.workflow("batch_of_four"))
    assert (await client.until("execution_start"))["data"]["prompt_id"] == second
    assert client.close_code is None


async def test_a_node_class_fails_as_often_as_asked(client: Client) -> None:
    fault = {"kind": "error", "message": "no such luck", "times": 1}
    await client.faults(nodes={"SaveImage": fault})
    first = await client.result(await client.submit(recordings.workflow("empty_image")))
    second = await client.result(await client.submit(recordings.workflow("empty_image")))
    kind, details = first["status"]["messages"][-1]
    assert kind == "execution_error"
    assert details["exception_message"] == "no such luck\n"
    assert (details["exception_type"], details["node_type"]) == ("RuntimeError", "SaveImage")
    assert second["status"]["status_str"] == "success"


async def test_an_injected_out_of_memory_looks_like_the_recorded_one(client: Client) -> None:
    recorded = next(
        event["json"]["data"]
        for event in recordings.load("out_of_memory")
        if event.get("json", {}).get("type") == "execution_error"
    )
    await client.faults(nodes={"KSampler": {"kind": "out_of_memory"}})
    entry = await client.result(await client.submit(sampling()))
    details = entry["status"]["messages"][-1][1]
    for key in ("exception_type", "exception_message"):
        assert details[key] == recorded[key]
    assert details.keys() == recorded.keys()


async def test_finished_outputs_of_a_failed_prompt_are_kept(client: Client) -> None:
    await client.faults(nodes={"ImageInvert": {"kind": "cuda_error"}})
    entry = await client.result(await client.submit(recordings.workflow("scale_invert_chain")))
    assert entry["status"]["status_str"] == "error"
    assert list(entry["outputs"]) == ["4"]
    assert "CUDA error" in entry["status"]["messages"][-1][1]["exception_message"]


@pytest.mark.parametrize(
    "change",
    [
        {"no_such_switch": True},
        {"stall": "yes"},
        {"step_ms": -1},
        {"nodes": {"KSampler": {"kind": "explode"}}},
        {"nodes": {"KSampler": {"sort": "error"}}},
        {"nodes": {"KSampler": {"kind": "error", "times": "twice"}}},
    ],
)
async def test_an_unknown_fault_is_refused_and_changes_nothing(
    client: Client, change: dict[str, Any]
) -> None:
    before = await client.get("/sim/faults")
    answer = await client.session.post("/sim/faults", json={"mute_sockets": True, **change})
    assert answer.status == 400
    assert await client.get("/sim/faults") == before


async def test_delete_puts_all_faults_back(client: Client) -> None:
    before = await client.get("/sim/faults")
    await client.faults(stall=True, step_ms=1000, nodes={"SaveImage": {"kind": "die"}})
    answer = await client.session.delete("/sim/faults")
    assert await answer.json() == before


async def test_a_longer_step_makes_sampling_slower(client: Client) -> None:
    await client.faults(step_ms=40)
    entry = await client.result(await client.submit(sampling(steps=5)))
    messages = dict(entry["status"]["messages"])
    took = messages["execution_success"]["timestamp"] - messages["execution_start"]["timestamp"]
    assert took >= 5 * 40


async def test_executions_are_counted_in_order(client: Client) -> None:
    ids = [await client.submit(recordings.workflow("empty_image")) for _ in range(3)]
    await client.result(ids[-1])
    assert await client.get("/sim/executed") == {"prompts": ids, "count": 3}


def test_the_cache_drops_what_was_unused_for_longest() -> None:
    cache = ResultCache()
    for number in range(CACHED_RESULTS):
        cache.keep(str(number), NodeResult())
    assert cache.find("0") is not None
    cache.keep("one more", NodeResult())
    assert cache.find("0") is not None
    assert cache.find("1") is None


async def test_an_old_server_has_no_jobs_no_features_and_takes_any_prompt_id(
    tmp_path: Path,
) -> None:
    options = Options(data_dir=tmp_path, port=0, step_ms=1, guise=OLD_VERSION)
    async with (
        Simulator(options) as simulator,
        aiohttp.ClientSession(simulator.url) as session,
    ):
        client = Client(session)
        for path in ("/api/jobs", "/features"):
            assert (await session.get(path)).status == 404
        assert (await session.post("/api/jobs/x/cancel")).status == 404
        assert (await client.get("/system_stats"))["system"]["comfyui_version"] == OLD_VERSION
        await client.listen(handshake=True)
        assert await client.submit(sampling(), prompt_id="job-1") == "job-1"
        frame = await client.until("binary")
        assert struct.unpack(">I", frame[:4]) == (1,)
        assert "feature_flags" not in client.kinds


async def test_the_picture_follows_words_and_seed_and_nothing_else(client: Client) -> None:
    def graph(text: str, seed: int, prefix: str) -> dict[str, Any]:
        graph = sampling(seed=seed)
        graph["2"]["inputs"]["text"] = text
        graph["7"]["inputs"]["filename_prefix"] = prefix
        return graph

    first = await client.picture(graph("a lighthouse", 1, "a"))
    again = await client.picture(graph("a lighthouse", 1, "b"))
    other_seed = await client.picture(graph("a lighthouse", 2, "c"))
    other_words = await client.picture(graph("a cat", 1, "d"))
    assert first.size == (128, 128)
    assert first.tobytes() == again.tobytes()
    assert len({one.tobytes() for one in (first, other_seed, other_words)}) == 3


async def test_the_png_holds_the_prompt_and_extra_pnginfo(client: Client) -> None:
    graph = recordings.workflow("empty_image")
    extra = {"extra_pnginfo": {"workflow": {"id": "w"}}}
    entry = await client.result(await client.submit(graph, extra_data=extra))
    image = entry["outputs"]["2"]["images"][0]
    answer = await client.session.get("/api/view", params=image)
    picture = Image.open(io.BytesIO(await answer.read()))
    assert json.loads(picture.info["prompt"]) == graph
    assert json.loads(picture.info["workflow"]) == {"id": "w"}


async def test_a_batch_is_numbered_on_from_what_is_there(client: Client, tmp_path: Path) -> None:
    (tmp_path / "output" / "batch_00007_.png").write_bytes(b"")
    entry = await client.result(await client.submit(recordings.workflow("batch_of_four")))
    names = [image["filename"] for image in entry["outputs"]["2"]["images"]]
    assert names == [f"batch_{number:05}_.png" for number in (8, 9, 10, 11)]


@pytest.mark.parametrize(
    ("change", "status"),
    [({"die": 3}, 3), ({"nodes": {"KSampler": {"kind": "die"}}}, 137)],
    ids=["now", "at a node"],
)
async def test_the_process_dies_without_a_close_frame(
    tmp_path: Path, change: dict[str, Any], status: int
) -> None:
    command = ("-m", "comfyui_sim", "--port", "0", "--data-dir", str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), WAIT_S)
        async with aiohttp.ClientSession(line.decode().split()[-1]) as session:
            client = Client(session)
            await client.listen()
            await client.until("status")
            await client.faults(**change)
            await client.submit(sampling())
            assert await client.until_closed() == 1006
        assert await asyncio.wait_for(process.wait(), WAIT_S) == status
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
