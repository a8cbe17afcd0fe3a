"""The time that the service adds to a job, compared with a post of the same graph to ComfyUI.

Both ways begin with a graph and end with the bytes of the picture. The way through the service is
split into phases by the job's history and by the engine's own reports.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

import httpx

from bench.cloud import MeasuredCloud, happened
from bench.figures import Figure, Measurement, Series
from bench.straight import STEPS, post
from comfyline.contract.v1.socket import DoneMessage
from comfyline.service.graphs.text_to_image import TextToImage, text_to_image_graph

STEP_MS = (5, 50)
JOBS = 10
# The calls of functions for which a job waits: its post, and the push of its end.
LAMBDA_CALLS = 2
PHASES = {
    "accepted": "post answered",
    "claimed": "answered -> claimed",
    "in_engine": "claimed -> in the engine",
    "run": "in the engine",
    "done": "off the GPU -> done received",
    "fetched": "done received -> file fetched",
}


async def overhead(cloud: MeasuredCloud, step_ms: int) -> Series:
    """Take both ways in turn, so that other work on the machine affects both alike."""
    pairs = []
    # Both ways use connections that are open: a program makes its HTTP client once.
    async with cloud.step_ms(step_ms), httpx.AsyncClient(trust_env=False) as files:
        checkpoint = (await cloud.client.models()).checkpoints[0]
        await _through_service(
            cloud, files, a_graph(checkpoint)
        )  # so that cold starts do not count
        for _ in range(cloud.many(JOBS)):
            straight = await post(cloud.endpoints.comfyui_url, a_graph(checkpoint))
            phases = await _through_service(cloud, files, a_graph(checkpoint))
            pairs.append((straight, phases))
        calls = [await _nothing(cloud) for _ in range(cloud.many(JOBS))]
    extra = [1000 * (phases["whole"] - straight) for straight, phases in pairs]
    waits = LAMBDA_CALLS * sorted(calls)[len(calls) // 2]
    return {
        f"overhead_{step_ms}": extra,
        f"own_{step_ms}": [each - waits for each in extra],
        f"straight_{step_ms}": [1000 * straight for straight, _ in pairs],
        **{f"{name}_{step_ms}": [1000 * phases[name] for _, phases in pairs] for name in PHASES},
    }


def a_graph(checkpoint: str) -> Mapping[str, Any]:
    """A text-to-image graph. Each has a new seed, so that ComfyUI does not use its cache."""
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


# --- through the service --------------------------------------------------------------------------


async def _through_service(
    cloud: MeasuredCloud, files: httpx.AsyncClient, graph: Mapping[str, Any]
) -> Mapping[str, float]:
    """Seconds of each phase, and of the whole."""
    since = time.time()
    job = await cloud.client.submit(workflow=graph)
    accepted = time.time()
    done_at = 0.0
    async for message in job.events(120):
        if isinstance(message, DoneMessage):
            done_at = time.time()
            await _fetch(files, message)
    fetched = time.time()
    claimed = await happened(cloud, job.id, "claimed")
    taken = await cloud.engines.next_taken(since)
    idle = await cloud.engines.next_idle(taken.at)
    return {
        "accepted": accepted - since,
        "claimed": claimed - accepted,  # negative if the worker is faster than the answer
        "in_engine": taken.at - claimed,
        "run": idle.at - taken.at,
        "done": done_at - idle.at,
        "fetched": fetched - done_at,
        "whole": fetched - since,
    }


async def _fetch(files: httpx.AsyncClient, done: DoneMessage) -> None:
    for artifact in done.result.artifacts if done.result else ():
        (await files.get(str(artifact.url))).raise_for_status()


async def _nothing(cloud: MeasuredCloud) -> float:
    """Milliseconds of a call that does nothing: the emulator's own time of a function call."""
    started = time.perf_counter()
    (await cloud.http.get(f"{cloud.endpoints.api_url}/healthz")).raise_for_status()
    return 1000 * (time.perf_counter() - started)


def _of_steps(step_ms: int) -> Measurement:
    what = f"{STEPS} x {step_ms} ms"
    goals = (350.0, 100.0) if step_ms == 50 else (60.0, None)
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
                for name, text in PHASES.items()
            ),
        ],
    )


MEASUREMENTS = tuple(map(_of_steps, STEP_MS))
