"""`make bench-live`: from what ComfyUI tells to what a client hears of it.

An engine's first word about a prompt becomes the status `running`, which nothing coalesces, and its
last one `done`; a socket of our own hears both, and a client yields them, on the same clock.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping

from bench import run, watchers
from bench.figures import Figure, Measurement, Series
from bench.stage import Stage
from comfyline.client import AsyncComfyline
from comfyline.contract.v1.socket import DoneMessage, StatusMessage

JOBS = 20
STEPS_BEFORE = 20  # long enough to open a socket behind it
STEPS = 4


async def heard(client: AsyncComfyline, job_id: str) -> Mapping[str, float]:
    """When a client hears first of the job, that it runs, and that it is done; since the epoch."""
    times: dict[str, float] = {}
    async for message in client.job(job_id).events(300):
        times.setdefault("first", time.time())
        if isinstance(message, StatusMessage) and message.status == "running":
            times.setdefault("running", time.time())
        if isinstance(message, DoneMessage):
            times["done"] = time.time()
    return times


async def one_watcher(stage: Stage) -> Series:
    """Jobs that wait behind another: who follows one is there before it starts.

    Where one is not, the snapshot has told it of the start, and that pair says nothing of events.
    """
    opened, starts, ends = [], [], []
    for _ in range(stage.many(JOBS)):
        since = time.time()
        await stage.client.submit(uuid.uuid4().hex, steps=STEPS_BEFORE, width=64, height=64)
        job = await stage.client.submit(uuid.uuid4().hex, steps=STEPS, width=64, height=64)
        asked = time.time()
        times = await heard(stage.client, job.id)
        begun = stage.engines.second_begun(since)
        ended = await stage.engines.next_idle(begun.at if begun else asked)
        opened.append(1000 * (times["first"] - asked))
        if begun and times["first"] < begun.at:
            starts.append(1000 * (times["running"] - begun.at))
        ends.append(1000 * (times["done"] - ended.at))
    return {"opened": opened, "start": starts, "end": ends}


MEASUREMENTS = (
    Measurement(
        name="progress to one watcher",
        take=one_watcher,
        figures=[
            Figure(name="follow a job -> its snapshot, p50", series="opened", slack=50),
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
        take=watchers.many_watchers,
        needs_simulator=True,
        figures=[
            Figure(
                name="end of GPU work -> done, 200 watchers, p95",
                series="end_for_many",
                statistic="p95",
                goal=1000,
                slack=300,
            ),
            Figure(
                name="as many bare posts to 200 sockets, p95",
                series="bare_for_many",
                statistic="p95",
                slack=300,
            ),
        ],
    ),
)

if __name__ == "__main__":
    raise SystemExit(run.main(MEASUREMENTS, __doc__, "live"))
