"""How long requests to the API take: posts by one or many clients, replays, and reads."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial

import httpx

from bench import graphs
from bench.cloud import MeasuredCloud
from bench.figures import Figure, Measurement, Series

CLIENTS = (1, 10, 50)
POSTS = {1: 30, 10: 100, 50: 200}  # by all clients together
READS = 50


async def submissions(cloud: MeasuredCloud, clients: int) -> Series:
    """Each client posts one job after the other.

    The first post of each client does not count, because it starts a function; cold starts have
    figures of their own.
    """
    times: list[float] = []
    errors = 0

    async def post() -> httpx.Response:
        body = {"workflow": graphs.timed(0.0, is_real=cloud.is_real)}
        return await cloud.http.post("/jobs", json=body)

    async def one_client() -> None:
        nonlocal errors
        for _ in range(max(1, cloud.many(POSTS[clients]) // clients)):
            try:
                times.append(await _timed(post))
            except httpx.HTTPError:
                errors += 1

    await asyncio.gather(*(post() for _ in range(clients)))
    started = time.monotonic()
    await asyncio.gather(*(one_client() for _ in range(clients)))
    took = time.monotonic() - started
    await cloud.drained()
    return {
        f"submit_{clients}": times,
        f"throughput_{clients}": [len(times) / took],
        f"errors_{clients}": [float(errors)],
    }


async def replays(cloud: MeasuredCloud) -> Series:
    """The same post with the same idempotency key, after its job has ended."""
    body = {"workflow": graphs.timed(0.0, is_real=cloud.is_real)}
    key = {"Idempotency-Key": uuid.uuid4().hex}
    post = partial(cloud.http.post, "/jobs", json=body, headers=key)
    await _timed(post)
    await cloud.drained()
    return {"replay": [await _timed(post) for _ in range(cloud.many(READS))]}


async def reads(cloud: MeasuredCloud) -> Series:
    """Reads of a job that has ended, and calls of a function that does nothing."""
    job = await cloud.client.submit(workflow=graphs.timed(0.0, is_real=cloud.is_real))
    await job.wait(60)
    origin = cloud.endpoints.api_url
    count = cloud.many(READS)
    return {
        "read": [await _timed(partial(cloud.http.get, f"/jobs/{job.id}")) for _ in range(count)],
        "nothing": [
            await _timed(partial(cloud.http.get, f"{origin}/healthz")) for _ in range(count)
        ],
    }


async def _timed(call: Callable[[], Awaitable[httpx.Response]]) -> float:
    started = time.perf_counter()
    (await call()).raise_for_status()
    return 1000 * (time.perf_counter() - started)


def _of_clients(clients: int) -> Measurement:
    of_clients = f"{clients} client" + ("s" if clients > 1 else "")
    return Measurement(
        name=f"submission, {of_clients}",
        take=partial(submissions, clients=clients),
        figures=[
            Figure(name=f"submit, {of_clients}, p50", series=f"submit_{clients}", slack=30),
            Figure(
                name=f"submit, {of_clients}, p99",
                series=f"submit_{clients}",
                statistic="p99",
                factor=2.0,
                slack=100,
            ),
            Figure(
                name=f"submissions, {of_clients}",
                series=f"throughput_{clients}",
                unit="/s",
                more_is_better=True,
            ),
            Figure(
                name=f"posts that failed, {of_clients}", series=f"errors_{clients}", unit="", goal=0
            ),
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
        name="a read of a job",
        take=reads,
        figures=[
            Figure(name="status poll, p50", series="read", slack=30),
            Figure(
                name="GET /healthz: the emulator's own time of a call", series="nothing", slack=30
            ),
        ],
    ),
)
