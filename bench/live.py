"""`make bench-live`: measure how long progress and the end of a job take from ComfyUI to a client.

ComfyUI's first message about a prompt becomes the status `running`, which is never coalesced, and
its last one becomes `done`. A socket of the benchmark at the engine receives the first pair, and a
client the second, on the same clock.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping

from bench import run, subscribers
from bench.cloud import MeasuredCloud
from bench.figures import Figure, Measurement, Series
from comfyline.client import AsyncComfyline
from comfyline.contract.v1.socket import DoneMessage, StatusMessage

JOBS = 20
STEPS_BEFORE = 20  # of the job before it; long enough to open a socket meanwhile
STEPS = 4


async def received(client: AsyncComfyline, job_id: str) -> Mapping[str, float]:
    """When a client receives its first message, `running` and `done`; seconds since the epoch."""
    times: dict[str, float] = {}
    async for message in client.job(job_id).events(300):
        times.setdefault("first", time.time())
        if isinstance(message, StatusMessage) and message.status == "running":
            times.setdefault("running", time.time())
        if isinstance(message, DoneMessage):
            times["done"] = time.time()
    return times


async def one_subscriber(cloud: MeasuredCloud) -> Series:
    """Jobs that wait behind another one, so that their subscriber is connected when they start.

    If it connects later, its snapshot says that the job runs. That start does not count, because
    the client did not learn it from an event.
    """
    opened, starts, ends = [], [], []
    for _ in range(cloud.many(JOBS)):
        since = time.time()
        await cloud.client.submit(uuid.uuid4().hex, steps=STEPS_BEFORE, width=64, height=64)
        job = await cloud.client.submit(uuid.uuid4().hex, steps=STEPS, width=64, height=64)
        asked = time.time()
        times = await received(cloud.client, job.id)
        begun = cloud.engines.second_begun(since)
        ended = await cloud.engines.next_idle(begun.at if begun else asked)
        opened.append(1000 * (times["first"] - asked))
        if begun and times["first"] < begun.at:
            starts.append(1000 * (times["running"] - begun.at))
        ends.append(1000 * (times["done"] - ended.at))
    return {"opened": opened, "start": starts, "end": ends}


MEASUREMENTS = (
    Measurement(
        name="progress to one subscriber",
        take=one_subscriber,
        figures=[
            Figure(name="follow a job -> its snapshot, p50", series="opened", slack=50),
            Figure(name="ComfyUI event -> client, p50", series="start", goal=50, slack=50),
            Figure(
                name="ComfyUI event -> client, p95",
                series="start",
                statistic="p95",
                goal=100,
                slack=100,
            ),
            Figure(name="end of GPU work -> done, p50", series="end", goal=60, slack=50),
        ],
    ),
    Measurement(
        name="the end to many subscribers",
        take=subscribers.many_subscribers,
        needs_simulator=True,
        figures=[
            Figure(
                name="end of GPU work -> done, 200 subscribers, p95",
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
