"""A graph that a program posts straight to ComfyUI: what the service is compared with."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import uuid
from collections.abc import Mapping
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from bench import graphs
from bench.cloud import MeasuredCloud
from comfyui_sim.options import STEP_MS

STEPS = 20
POSTS = 5  # of a yardstick, the median of which counts
WITHIN_SECONDS = 30.0


async def post(url: str, graph: Mapping[str, Any], *, previews: bool = False) -> float:
    """Seconds from the post to the picture's bytes, for a program beside ComfyUI.

    `previews`: ComfyUI makes one for each step. The service asks for them only if a client does.
    """
    client_id = uuid.uuid4().hex
    where = url.replace("http", "ws", 1) + f"/ws?clientId={client_id}"
    async with (
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
        connect(where, max_size=None, proxy=None) as socket,
    ):
        started = time.perf_counter()
        extra_data = {"preview_method": "latent2rgb" if previews else "none"}
        body = {"prompt": graph, "client_id": client_id, "extra_data": extra_data}
        posted = (await http.post("/prompt", json=body)).raise_for_status().json()["prompt_id"]
        async for frame in socket:
            message = json.loads(frame) if isinstance(frame, str) else {}
            is_end = message.get("type") == "execution_success"
            if is_end and message["data"]["prompt_id"] == posted:
                break
        await _fetch(http, posted)
        return time.perf_counter() - started


async def _fetch(http: httpx.AsyncClient, prompt_id: str) -> None:
    while not (history := (await http.get(f"/history/{prompt_id}")).json()):
        await asyncio.sleep(0.002)  # ComfyUI writes its history a moment after the message
    for output in history[prompt_id]["outputs"].values():
        for image in output.get("images", ()):
            (await http.get("/view", params=image)).raise_for_status()


async def yardstick(cloud: MeasuredCloud) -> float | None:
    """Milliseconds of a post of a graph whose steps take no time; None if ComfyUI cannot take it.

    It is the time that this machine, as busy as it is now, needs for sockets, HTTP and Python, and
    for small pictures: with previews, so that it is long enough to be measured.
    """
    seconds = STEPS * STEP_MS / 1000
    try:
        async with asyncio.timeout(WITHIN_SECONDS), cloud.step_ms(0):
            taken = [
                await post(
                    cloud.endpoints.comfyui_url,
                    graphs.sampled(seconds, is_real=cloud.is_real),
                    previews=True,
                )
                for _ in range(POSTS)
            ]
    except (TimeoutError, OSError, httpx.HTTPError, WebSocketException):
        return None
    return 1000 * statistics.median(taken)
