"""What a call of the API takes: a submission, alone and in company, a replay, a look."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial

import httpx

from bench import graphs
from bench.figures import Figure, Measurement, Series
from bench.stage import Stage

CLIENTS = (1, 10, 50)
POSTS = {1: 30, 10: 100, 50: 200}  # of all clients together
LOOKS = 50


async def submissions(stage: Stage, clients: int) -> Series:
    """So many clients, each of which posts one job after the other.

    Each posts one before that does not count: so many functions at once start cold, which is told
    elsewhere.
    """
    times: list[float] = []
    errors = 0

    async def post() -> httpx.Response:
        body = {"workflow": graphs.timed(0.0, is_real=stage.is_real)}
        return await stage.http.post("/jobs", json=body)

    async def one_client() -> None:
        nonlocal errors
        for _ in range(max(1, stage.many(POSTS[clients]) // clients)):
            try:
                times.append(await _timed(post))
            except httpx.HTTPError:
                errors += 1

    await asyncio.gather(*(post() for _ in range(clients)))
    started = time.monotonic()
    await asyncio.gather(*(one_client() for _ in range(clients)))
    took = time.monotonic() - started
    await stage.drained()
    return {
        f"submit_{clients}": times,
        f"throughput_{clients}": [len(times) / took],
        f"errors_{clients}": [float(errors)],
    }


async def replays(stage: Stage) -> Series:
    """The same post with the same key, after its job has ended."""
    body = {"workflow": graphs.timed(0.0, is_real=stage.is_real)}
    key = {"Idempotency-Key": uuid.uuid4().hex}
    post = partial(stage.http.post, "/jobs", json=body, headers=key)
    await _timed(post)
    await stage.drained()
    return {"replay": [await _timed(post) for _ in range(stage.many(LOOKS))]}


async def looks(stage: Stage) -> Series:
    """A job that has ended, and a function that does nothing."""
    job = await stage.client.submit(workflow=graphs.timed(0.0, is_real=stage.is_real))
    await job.wait(60)
    origin = stage.endpoints.api_url
    count = stage.many(LOOKS)
    return {
        "look": [await _timed(partial(stage.http.get, f"/jobs/{job.id}")) for _ in range(count)],
        "nothing": [
            await _timed(partial(stage.http.get, f"{origin}/healthz")) for _ in range(count)
        ],
    }


async def _timed(call: Callable[[], Awaitable[httpx.Response]]) -> float:
    started = time.perf_counter()
    (await call()).raise_for_status()
    return 1000 * (time.perf_counter() - started)


def _of_clients(clients: int) -> Measurement:
    who = f"{clients} client" + ("s" if clients > 1 else "")
    return Measurement(
        name=f"submission, {who}",
        take=partial(submissions, clients=clients),
        figures=[
            Figure(name=f"submit, {who}, p50", series=f"submit_{clients}", slack=30),
            Figure(
                name=f"submit, {who}, p99",
                series=f"submit_{clients}",
                statistic="p99",
                factor=2.0,
                slack=100,
            ),
            Figure(
                name=f"submissions, {who}",
                series=f"throughput_{clients}",
                unit="/s",
                more_is_better=True,
            ),
            Figure(name=f"posts that failed, {who}", series=f"errors_{clients}", unit="", goal=0),
        ],
    )


MEASUREMENTS = (
    *map(_of_clients, CLIENTS),
    Measurement(
        name="replay of a key",
        take=replays,
        figures=[Figure(name="replay, p50", series="replay", slack=30)],
    ),
    Measurement(
        name="a look at a job",
        take=looks,
        figures=[
            Figure(name="status poll, p50", series="look", slack=30),
            Figure(name="GET /healthz: the emulator's price of a call", series="nothing", slack=30),
        ],
    ),
)
