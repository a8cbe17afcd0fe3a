"""What the service adds to a job: the same graph by its API, and posted straight to the ComfyUI.

Both ways begin with a graph in hand and end with the picture's bytes in hand. The way through the
service is told apart into stages, by the job's history and by what the engine says itself.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

import httpx
from websockets.asyncio.client import connect

from bench.figures import Figure, Measurement, Series
from bench.stage import Stage, happened
from comfyline.contract.v1.socket import DoneMessage
from comfyline.service.graphs.text_to_image import TextToImage, text_to_image_graph

STEPS = 20
STEP_MS = (5, 50)
JOBS = 10
# Calls of a function that a job waits for: its post, and the push of its end.
LAMBDA_CALLS = 2


async def overhead(stage: Stage, step_ms: int) -> Series:
    """Both ways in turn, so that the machine's moods meet both."""
    pairs = []
    async with stage.step_ms(step_ms):
        checkpoint = (await stage.client.models()).checkpoints[0]
        await _through_service(stage, a_graph(checkpoint))  # cold starts are no overhead
        for _ in range(stage.many(JOBS)):
            straight = await _straight(stage, a_graph(checkpoint))
            pairs.append((straight, await _through_service(stage, a_graph(checkpoint))))
        calls = [await _nothing(stage) for _ in range(stage.many(JOBS))]
    extra = [1000 * (stages["whole"] - straight) for straight, stages in pairs]
    waits = LAMBDA_CALLS * sorted(calls)[len(calls) // 2]
    names = ("accepted", "claimed", "in_engine", "run", "told", "fetched")
    return {
        f"overhead_{step_ms}": extra,
        f"own_{step_ms}": [each - waits for each in extra],
        f"straight_{step_ms}": [1000 * straight for straight, _ in pairs],
        **{f"{name}_{step_ms}": [1000 * stages[name] for _, stages in pairs] for name in names},
    }


def a_graph(checkpoint: str) -> Mapping[str, Any]:
    """Text to image; no two are alike, so that no cache answers."""
    asked = TextToImage(
        prompt="a red fox",
        negative_prompt="",
        width=64,
        height=64,
        batch_size=1,
        seed=uuid.uuid4().int % 2**32,
        steps=STEPS,
        cfg_scale=7.0,
        sampler="euler",
        scheduler="normal",
        model=checkpoint,
    )
    return text_to_image_graph(asked)


# --- straight to the engine -----------------------------------------------------------------------


async def _straight(stage: Stage, graph: Mapping[str, Any]) -> float:
    """Seconds from the post to the picture's bytes, as a program beside ComfyUI would wait."""
    url, client_id = stage.endpoints.comfyui_url, uuid.uuid4().hex
    where = url.replace("http", "ws", 1) + f"/ws?clientId={client_id}"
    async with (
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
        connect(where, max_size=None, proxy=None) as socket,
    ):
        started = time.perf_counter()
        body = {"prompt": graph, "client_id": client_id}
        posted = (await http.post("/prompt", json=body)).raise_for_status().json()["prompt_id"]
        async for frame in socket:
            told = json.loads(frame) if isinstance(frame, str) else {}
            if told.get("type") == "execution_success" and told["data"]["prompt_id"] == posted:
                break
        await _fetch_straight(http, posted)
        return time.perf_counter() - started


async def _fetch_straight(http: httpx.AsyncClient, prompt_id: str) -> None:
    while not (history := (await http.get(f"/history/{prompt_id}")).json()):
        await asyncio.sleep(0.002)  # it is written a moment after the message
    for output in history[prompt_id]["outputs"].values():
        for image in output.get("images", ()):
            (await http.get("/view", params=image)).raise_for_status()


# --- through the service --------------------------------------------------------------------------


async def _through_service(stage: Stage, graph: Mapping[str, Any]) -> Mapping[str, float]:
    """Seconds of each stage, and of the whole."""
    since = time.time()
    job = await stage.client.submit(workflow=graph)
    accepted = time.time()
    done_at = 0.0
    async for message in job.events(120):
        if isinstance(message, DoneMessage):
            done_at = time.time()
            await _fetch(message)
    fetched = time.time()
    claimed = await happened(stage, job.id, "claimed")
    taken = await stage.engines.next_taken(since)
    idle = await stage.engines.next_idle(taken.at)
    return {
        "accepted": accepted - since,
        "claimed": claimed - accepted,  # a worker is often faster than the answer to the post
        "in_engine": taken.at - claimed,
        "run": idle.at - taken.at,
        "told": done_at - idle.at,
        "fetched": fetched - done_at,
        "whole": fetched - since,
    }


async def _fetch(done: DoneMessage) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        for artifact in done.result.artifacts if done.result else ():
            (await http.get(str(artifact.url))).raise_for_status()


async def _nothing(stage: Stage) -> float:
    """Milliseconds of a call that does nothing: what the emulator takes for each function."""
    started = time.perf_counter()
    (await stage.http.get(f"{stage.endpoints.api_url}/healthz")).raise_for_status()
    return 1000 * (time.perf_counter() - started)


def _of_steps(step_ms: int) -> Measurement:
    what = f"{STEPS} x {step_ms} ms"
    goals = (350.0, 100.0) if step_ms == 50 else (None, None)
    stages = {
        "accepted": "post answered",
        "claimed": "answered -> claimed",
        "in_engine": "claimed -> in the engine",
        "run": "in the engine",
        "told": "off the GPU -> done told",
        "fetched": "done told -> file fetched",
    }
    return Measurement(
        name=f"overhead over ComfyUI, {what}",
        take=partial(overhead, step_ms=step_ms),
        figures=[
            Figure(
                name=f"overhead, {what}", series=f"overhead_{step_ms}", goal=goals[0], slack=100
            ),
            Figure(
                name=f"overhead, {what}, without the emulator's waits",
                series=f"own_{step_ms}",
                goal=goals[1],
                slack=100,
            ),
            Figure(name=f"straight to ComfyUI, {what}", series=f"straight_{step_ms}", slack=100),
            *(
                Figure(name=f"  {text}, {what}", series=f"{name}_{step_ms}", slack=50)
                for name, text in stages.items()
            ),
        ],
    )


MEASUREMENTS = tuple(map(_of_steps, STEP_MS))
