"""The simulator's own routes (`/sim/*`), which switch faults on and off."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyui_sim.engine import CACHED_RESULTS, ResultCache
from comfyui_sim.node_types import NodeResult
from tests.contract.comfyui_sim.client import Client, sampling
from tests.support import recordings
from tests.support.eventually import WITHIN


async def test_prompts_stay_pending_while_the_executor_is_stalled(client: Client) -> None:
    assert (await client.faults(stall=True))["stall"] is True
    prompt_id = await client.submit(recordings.workflow("empty_image"))
    queue = await client.get("/queue")
    assert [entry[1] for entry in queue["queue_pending"]] == [prompt_id]
    assert queue["queue_running"] == []
    await client.faults(stall=False)
    assert (await client.result(prompt_id))["status"]["status_str"] == "success"


async def test_a_message_that_the_log_cannot_encode_ends_the_executor(client: Client) -> None:
    """Tried with ComfyUI 0.33.0: HTTP answers on, and the history never has the prompt."""
    fault = {"kind": "error", "message": "half \ud800 of a pair"}
    await client.faults(nodes={"EmptyImage": fault})
    await client.listen()
    first = await client.submit(recordings.workflow("empty_image"))
    await client.until("executing")
    second = await client.submit(recordings.workflow("batch_of_four"))
    await asyncio.sleep(0.1)  # many times as long as the node needs to fail
    queue = await client.get("/queue")
    assert [entry[1] for entry in queue["queue_running"]] == [first]
    assert [entry[1] for entry in queue["queue_pending"]] == [second]
    assert await client.get(f"/history/{first}") == {}


async def test_a_prompt_keeps_running_while_its_node_is_stalled(client: Client) -> None:
    await client.listen()
    prompt_id = await client.submit(sampling(steps=50))
    await client.until("progress")
    await client.faults(stall=True)
    await client.session.post("/interrupt", json={"prompt_id": prompt_id})
    queue = await client.get("/queue")
    assert [entry[1] for entry in queue["queue_running"]] == [prompt_id]
    await client.faults(stall=False)
    await client.until("execution_interrupted")


async def test_dropped_sockets_end_without_a_close_frame_and_the_prompt_continues(
    client: Client,
) -> None:
    await client.listen()
    prompt_id = await client.submit(sampling())
    await client.until("progress")
    await client.faults(drop_sockets=True)
    assert await client.until_closed() == 1006
    assert (await client.result(prompt_id))["status"]["completed"] is True


async def test_a_muted_socket_stays_open_and_misses_messages(client: Client) -> None:
    await client.listen()
    await client.until("status")
    await client.faults(mute_sockets=True)
    await client.result(await client.submit(recordings.workflow("empty_image")))
    await client.faults(mute_sockets=False)
    second = await client.submit(recordings.workflow("batch_of_four"))
    assert (await client.until("execution_start"))["data"]["prompt_id"] == second
    assert client.close_code is None


async def test_a_node_class_fails_as_often_as_requested(client: Client) -> None:
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


async def test_delete_switches_all_faults_off(client: Client) -> None:
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


def test_the_cache_drops_the_least_recently_used_result() -> None:
    cache = ResultCache()
    for number in range(CACHED_RESULTS):
        cache.keep(str(number), NodeResult())
    assert cache.find("0") is not None
    cache.keep("one more", NodeResult())
    assert cache.find("0") is not None
    assert cache.find("1") is None


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
        line = await asyncio.wait_for(process.stdout.readline(), WITHIN)
        async with aiohttp.ClientSession(line.decode().split()[-1]) as session:
            client = Client(session)
            await client.listen()
            await client.until("status")
            await client.faults(**change)
            await client.submit(sampling())
            assert await client.until_closed() == 1006
        assert await asyncio.wait_for(process.wait(), WITHIN) == status
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
