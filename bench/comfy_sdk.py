"""Comfy's own Python client: against the service, and against comfy-api-proxy.

comfy-api-proxy puts Comfy API v2 in front of one ComfyUI, here the engine of the service's worker.
It is no part of this project: COMFY_PROXY names the program, for example of an environment of its
own. Without it the comparison is left out, and only the service is measured.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import httpx
from comfy_sdk import AsyncComfy, AsyncJob

from bench import graphs
from bench.cloud import MeasuredCloud, until
from bench.figures import Figure, Measurement, Series
from bench.straight import post

PROGRAM = "COMFY_PROXY"
JOBS = 10
SHORT_SECONDS, LONG_SECONDS = 0.1, 60.0  # of a graph's run on the simulator
POLL_SECONDS = 0.01
ENDED = ("succeeded", "failed", "canceled", "expired")


async def both_ways(cloud: MeasuredCloud) -> Series:
    """Take both ways in turn, so that other work on the machine affects both alike."""
    taken: dict[str, list[float]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        ways = {"service": (cloud.endpoints.api_url, cloud.endpoints.api_key)}
        if program := os.environ.get(PROGRAM):
            url = cloud.endpoints.comfyui_url
            ways["proxy"] = (await stack.enter_async_context(_proxy(program, url)), "")
        else:
            print(f"{PROGRAM} is not set: comfy-api-proxy is left out.", file=sys.stderr)
        clients = {way: await stack.enter_async_context(_client(*ways[way])) for way in ways}
        for client in clients.values():
            await _round(cloud, client)  # so that cold starts do not count
        for _ in range(cloud.many(JOBS)):
            for way, client in clients.items():
                for what, value in (await _round(cloud, client)).items():
                    taken[f"{way}_{what}"].append(value)
    return taken


async def _round(cloud: MeasuredCloud, comfy: AsyncComfy) -> Mapping[str, float]:
    """Milliseconds of each call and wait."""
    straight = 1000 * await post(cloud.endpoints.comfyui_url, _graph(SHORT_SECONDS))
    ran, followed = await _ran(comfy), await _followed(comfy)
    return {**ran, **followed, "overhead": followed["followed"] - straight, **await _ended(comfy)}


async def _ran(comfy: AsyncComfy) -> Mapping[str, float]:
    """`run()`, which submits and polls, and the download of the picture."""
    workflow = comfy.workflows.from_json(_graph(SHORT_SECONDS))
    milliseconds = _stopwatch()
    job = await comfy.run(workflow)
    await job.outputs[0].to_bytes()
    return {"ran": milliseconds()}


async def _followed(comfy: AsyncComfy) -> Mapping[str, float]:
    """The same by `submit()` and `events()`, which does not wait for a poll."""
    milliseconds = _stopwatch()
    job = await _submitted(comfy, SHORT_SECONDS)
    submitted = milliseconds()
    async for _ in job.events():
        pass
    await job.refresh()
    await job.outputs[0].to_bytes()
    return {"submitted": submitted, "followed": milliseconds()}


async def _ended(comfy: AsyncComfy) -> Mapping[str, float]:
    """From the cancel of a queued and of a running job until the client sees their ends."""
    running = await _submitted(comfy, LONG_SECONDS)
    await until(partial(_has, running, "running"), every=POLL_SECONDS)
    queued = await _submitted(comfy, LONG_SECONDS)
    await until(partial(_has, queued, "queued"), every=POLL_SECONDS)
    took = {"queued": await _canceled(queued), "running": await _canceled(running)}
    told = {"queued": queued.status == "canceled", "running": running.status == "canceled"}
    return {
        **{f"cancel_{what}": value for what, value in took.items()},
        **{f"told_{what}": float(value) for what, value in told.items()},
    }


async def _canceled(job: AsyncJob) -> float:
    milliseconds = _stopwatch()
    await job.cancel()
    await until(partial(_has, job, *ENDED), every=POLL_SECONDS)
    return milliseconds()


async def _has(job: AsyncJob, *states: str) -> bool:
    return (await job.refresh()).status in states


async def _submitted(comfy: AsyncComfy, seconds: float) -> AsyncJob:
    return await comfy.submit(comfy.workflows.from_json(_graph(seconds)))


def _graph(seconds: float) -> dict[str, Any]:
    return graphs.sampled(seconds, is_real=False)


def _stopwatch() -> Callable[[], float]:
    started = time.perf_counter()
    return lambda: 1000 * (time.perf_counter() - started)


# --- the two ways ---------------------------------------------------------------------------------


@asynccontextmanager
async def _client(url: str, key: str) -> AsyncIterator[AsyncComfy]:
    """Comfy's client. It reads its base URL from the environment, when it is made."""
    with _environment(COMFY_BASE_URL=url):
        client = AsyncComfy(api_key=key or None)
    async with client:
        yield client


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@asynccontextmanager
async def _proxy(program: str, comfyui_url: str) -> AsyncIterator[str]:
    """The address of comfy-api-proxy in front of the ComfyUI, until the block ends.

    Raises:
        OSError: the program does not start.
        TimeoutError: it does not answer in time.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--comfyui", comfyui_url, "--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [program, "run", *options], cwd=folder, stdout=subprocess.DEVNULL
        )
        try:
            yield await _answering(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 10)


async def _answering(url: str) -> str:
    async with httpx.AsyncClient(trust_env=False) as http:

        async def answers() -> bool:
            try:
                return (await http.get(f"{url}/api/v2/health")).is_success
            except httpx.TransportError:
                return False

        await until(answers, within=30)
    return url


# --- the figures ----------------------------------------------------------------------------------


def _figures(way: str, name: str) -> Iterator[Figure]:
    texts = {
        "submitted": "submit()",
        "ran": "run() and the picture",
        "followed": "submit(), events() and the picture",
        "overhead": "the last beyond a post straight to ComfyUI",
        "cancel_queued": "cancel of a queued job -> its end",
        "cancel_running": "cancel of a running job -> its end",
    }
    for series, text in texts.items():
        yield Figure(name=f"Comfy's client, {name}: {text}", series=f"{way}_{series}", slack=100)
    for what in ("queued", "running"):
        yield Figure(
            name=f"Comfy's client, {name}: canceled {what} jobs that end as `canceled`",
            series=f"{way}_told_{what}",
            statistic="mean",
            unit="",
            goal=1.0 if way == "service" else None,
            more_is_better=True,
            factor=1.01,
        )


MEASUREMENTS = (
    Measurement(
        name="comfy-sdk, Comfy's own client",
        take=both_ways,
        needs_simulator=True,
        figures=[*_figures("service", "this service"), *_figures("proxy", "comfy-api-proxy")],
    ),
)
