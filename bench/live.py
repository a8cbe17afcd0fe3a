"""`make bench-live`: from what ComfyUI tells to what a client hears of it.

An engine's first word about a prompt becomes the status `running`, which nothing coalesces, and its
last one `done`; a socket of our own hears both, and a client yields them, on the same clock.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping

from bench import run
from bench.figures import Figure, Measurement, Series
from bench.stage import PATIENCE_SECONDS, Stage
from comfyline import wire
from comfyline.client import AsyncComfyline

JOBS = 30
WATCHERS = 200
SLOW_STEP_MS = 100.0  # until every watcher is there


async def heard(
    client: AsyncComfyline, job_id: str, ready: asyncio.Event | None = None
) -> Mapping[str, float]:
    """When a client hears that the job runs, and that it is done; seconds since the epoch."""
    times: dict[str, float] = {}
    async for message in client.job(job_id).events(300):
        if ready is not None:
            ready.set()
        if isinstance(message, wire.StatusMessage) and message.status == "running":
            times.setdefault("running", time.time())
        if isinstance(message, wire.DoneMessage):
            times["done"] = time.time()
    return times


async def one_watcher(stage: Stage) -> Series:
    """One job after the other, each followed by one client."""
    starts, ends = [], []
    for _ in range(stage.many(JOBS)):
        since = time.time()
        job = await stage.client.submit(uuid.uuid4().hex, steps=20, width=64, height=64)
        times = await heard(stage.client, job.id)
        taken = await stage.engines.next_taken(since)
        ended = await stage.engines.next_idle(taken.at)
        starts.append(1000 * (times["running"] - taken.at))
        ends.append(1000 * (times["done"] - ended.at))
    return {"start": starts, "end": ends}


async def many_watchers(stage: Stage) -> Series:
    """One job that all follow; all of them are there before it ends."""
    async with stage.step_ms(SLOW_STEP_MS):
        since = time.time()
        job = await stage.client.submit(uuid.uuid4().hex, steps=900, width=64, height=64)
        ready = [asyncio.Event() for _ in range(stage.many(WATCHERS))]
        watching = [asyncio.create_task(heard(stage.client, job.id, each)) for each in ready]
        await asyncio.wait_for(asyncio.gather(*(each.wait() for each in ready)), PATIENCE_SECONDS)
    times = await asyncio.wait_for(asyncio.gather(*watching), PATIENCE_SECONDS)
    ended = await stage.engines.next_idle((await stage.engines.next_taken(since)).at)
    return {"end_for_many": [1000 * (each["done"] - ended.at) for each in times]}


MEASUREMENTS = (
    Measurement(
        name="progress to one watcher",
        take=one_watcher,
        figures=[
            Figure(name="ComfyUI event -> client, p50", series="start", goal=100, slack=50),
            Figure(
                name="ComfyUI event -> client, p95",
                series="start",
                statistic="p95",
                goal=300,
                slack=100,
            ),
            Figure(name="end of GPU work -> done, p50", series="end", goal=150, slack=50),
        ],
    ),
    Measurement(
        name="the end to many watchers",
        take=many_watchers,
        needs_simulator=True,
        figures=[
            Figure(
                name="end of GPU work -> done, 200 watchers, p95",
                series="end_for_many",
                statistic="p95",
                goal=1000,
                slack=300,
            )
        ],
    ),
)

if __name__ == "__main__":
    raise SystemExit(run.main(MEASUREMENTS, __doc__, "live"))
