"""`make bench-worker`: measure how long the GPU is idle, and how long a crash delays a job."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from bench import graphs, run
from bench.cloud import VISIBILITY_SECONDS, MeasuredCloud, happened, kill, until
from bench.engines import idle_share, idle_times
from bench.figures import Figure, Measurement, Series
from comfyline.client import AsyncComfyline, AsyncJob

AT_ONCE = 10  # parallel posts
SHORT_SECONDS, SHORT_JOBS = 0.2, 100
LARGE_SECONDS, LARGE_JOBS = 2.0, 15
# Time of a post, with a margin. The first job holds the engine until all jobs are posted.
POST_SECONDS = 0.3
LONG_STEPS, LONG_STEP_MS = 400, 20  # 8 s on the GPU
LONG_CHAIN = 40  # nodes, which take at least as long on a real ComfyUI
SWITCHES = 40
DISPATCHES = 20


# --- a backlog ------------------------------------------------------------------------------------


async def short_backlog(cloud: MeasuredCloud) -> Series:
    """A backlog of many jobs of 200 ms."""
    count = cloud.many(SHORT_JOBS)
    short = [_short(cloud) for _ in range(count)]
    return {"idle_short": [await _idle_percent(cloud, short, {})]}


async def large_backlog(cloud: MeasuredCloud) -> Series:
    """A backlog of fewer jobs of 2 s, each with an artifact of 20 MB."""
    count = cloud.many(LARGE_JOBS)
    with tempfile.TemporaryDirectory() as folder:
        files = {"1.image": await asyncio.to_thread(graphs.noise, Path(folder))}
        large = [graphs.large(LARGE_SECONDS, is_real=cloud.is_real) for _ in range(count)]
        return {"idle_large": [await _idle_percent(cloud, large, files)]}


async def _idle_percent(
    cloud: MeasuredCloud, backlog: Sequence[graphs.Graph], files: dict[str, Path]
) -> float:
    """The share without a prompt of the time from the last post to the end of the last prompt."""
    gate = asyncio.Semaphore(AT_ONCE)
    hold = graphs.timed(POST_SECONDS * len(backlog) / AT_ONCE, is_real=cloud.is_real)

    async def post(graph: graphs.Graph) -> AsyncJob:
        async with gate:
            return await cloud.client.submit(workflow=graph, files=files or None)

    since = time.time()
    await cloud.client.submit(workflow=hold)
    await cloud.engines.next_taken(since)
    await asyncio.gather(*map(post, backlog))
    posted = time.time()
    await cloud.drained(within=600)
    reports = [report for report in cloud.engines.reports if report.at >= since]
    ended = max(report.at for report in reports if report.remaining == 0)
    return 100 * idle_share(reports, min(posted, ended - 1), ended)


# --- owners in turn -------------------------------------------------------------------------------


async def owner_switches(cloud: MeasuredCloud) -> Series:
    """Jobs of two owners in turn: none of them is in the engine before the last one's files left.

    Each time without a prompt is a switch: the engine says that it is idle, and then that it has
    the next owner's prompt.
    """
    endpoints, count = cloud.endpoints, cloud.many(SWITCHES)
    async with AsyncComfyline(
        endpoints.api_url, endpoints.second_api_key, endpoints.ws_url
    ) as other:
        hold = graphs.timed(POST_SECONDS * count, is_real=cloud.is_real)
        since = time.time()
        await cloud.client.submit(workflow=hold)
        await cloud.engines.next_taken(since)
        for number in range(count):
            owner = cloud.client if number % 2 else other
            last = await owner.submit(workflow=_short(cloud))
        await last.wait(300)
        await cloud.drained(within=300)
    reports = [report for report in cloud.engines.reports if report.at >= since]
    return {"switch": [1000 * idle for idle in idle_times(reports)]}


def _short(cloud: MeasuredCloud) -> graphs.Graph:
    return graphs.sampled(SHORT_SECONDS, is_real=cloud.is_real)


# --- an idle worker -------------------------------------------------------------------------------


async def dispatch(cloud: MeasuredCloud) -> Series:
    """The time from the client's call to the prompt's arrival in the engine's queue."""
    times = []
    for _ in range(cloud.many(DISPATCHES)):
        since = time.time()
        job = await cloud.client.submit(workflow=graphs.timed(0.0, is_real=cloud.is_real))
        taken = await cloud.engines.next_taken(since)
        times.append(1000 * (taken.at - since))
        await job.wait(60)
        await asyncio.sleep(0.1)  # so that the worker is in its long polls again
    return {"dispatch": times}


# --- a crash --------------------------------------------------------------------------------------


async def worker_killed(cloud: MeasuredCloud) -> Series:
    """The time until an idle worker runs a job again, after a kill -9 of the job's worker."""
    async with cloud.step_ms(LONG_STEP_MS):
        job, engine = await _long_job(cloud)
        killed = kill(_worker_of(cloud, engine))
        again = await _started(cloud, job, attempt=2)
        await _judge(cloud, job)
    return {"worker_killed": [again - killed]}


async def worker_terminated(cloud: MeasuredCloud) -> Series:
    """The time until a job is queued again, after SIGTERM to its worker."""
    async with cloud.step_ms(LONG_STEP_MS):
        job, engine = await _long_job(cloud)
        terminated = kill(_worker_of(cloud, engine), signal.SIGTERM)
        queued = await happened(cloud, job.id, "interrupted")
        await _judge(cloud, job)
    return {"worker_terminated": [queued - terminated]}


async def engine_killed(cloud: MeasuredCloud) -> Series:
    """The time from the restart of an engine to that of its job, after a kill -9 of the engine."""
    async with cloud.step_ms(LONG_STEP_MS):
        job, engine = await _long_job(cloud)
        before = cloud.endpoints.pids.comfyui[engine]
        kill(before)

        async def is_back() -> bool:
            pids = cloud.endpoints.pids.comfyui
            return len(pids) > engine and pids[engine] != before

        await until(is_back)
        back = time.time()
        again = await _started(cloud, job, attempt=2)
        await _judge(cloud, job)
    return {"engine_killed": [again - back]}


async def _long_job(cloud: MeasuredCloud) -> tuple[AsyncJob, int]:
    """A job of some seconds that runs now, and the number of its engine."""
    since = time.time()
    if cloud.is_real:
        job = await cloud.client.submit(workflow=graphs.chain(LONG_CHAIN))
    else:
        job = await cloud.client.submit(uuid.uuid4().hex, steps=LONG_STEPS, width=64, height=64)
    taken = await cloud.engines.next_taken(since)
    await _started(cloud, job, attempt=1)
    return job, taken.engine


def _worker_of(cloud: MeasuredCloud, engine: int) -> int:
    """The pid of the engine's worker. With a real ComfyUI there is one worker only."""
    return cloud.endpoints.pids.workers[engine]


async def _started(cloud: MeasuredCloud, job: AsyncJob, *, attempt: int) -> float:
    return await happened(cloud, job.id, "started", attempt)


async def _judge(cloud: MeasuredCloud, job: AsyncJob) -> None:
    """Check that the job ended once, succeeded, and shows the artifacts of one attempt."""
    view = await job.wait(300)
    history = await cloud.history(job.id)
    ended = [event["status"] for event in history if event["status"] not in ("queued", "running")]
    assert ended == ["succeeded"], history
    assert view.result is not None
    assert len(view.result.artifacts) == 1, view


MEASUREMENTS = (
    Measurement(
        name="a backlog of short jobs",
        take=short_backlog,
        figures=[
            Figure(name="GPU idle, 200 ms jobs", series="idle_short", unit="%", goal=0.3, slack=0.5)
        ],
    ),
    Measurement(
        name="a backlog of jobs with large files",
        take=large_backlog,
        figures=[
            Figure(
                name="GPU idle, 2 s jobs of 20 MB",
                series="idle_large",
                unit="%",
                goal=1.0,
                slack=0.5,
            )
        ],
    ),
    Measurement(
        name="a backlog of two owners in turn",
        take=owner_switches,
        figures=[
            Figure(
                name="owner switch: GPU free -> next POST /prompt, p50",
                series="switch",
                goal=30,
                slack=20,
            ),
            Figure(
                name="owner switch: GPU free -> next POST /prompt, p95",
                series="switch",
                statistic="p95",
                slack=40,
            ),
        ],
    ),
    Measurement(
        name="dispatch to an idle worker",
        take=dispatch,
        figures=[
            Figure(name="submit -> POST /prompt, p50", series="dispatch", goal=120, slack=50),
            Figure(
                name="submit -> POST /prompt, p95",
                series="dispatch",
                statistic="p95",
                goal=250,
                slack=100,
            ),
        ],
    ),
    Measurement(
        name="a worker is killed",
        take=worker_killed,
        workers=2,
        figures=[
            Figure(
                name="kill -9 of a worker -> running again",
                series="worker_killed",
                unit="s",
                goal=VISIBILITY_SECONDS + 3,
                slack=3,
            )
        ],
    ),
    Measurement(
        name="a worker is terminated",
        take=worker_terminated,
        workers=2,
        figures=[
            Figure(
                name="SIGTERM -> queued again",
                series="worker_terminated",
                unit="s",
                goal=2,
                slack=1,
            )
        ],
    ),
    Measurement(
        name="an engine is killed",
        take=engine_killed,
        workers=2,
        needs_simulator=True,
        figures=[
            Figure(
                name="ComfyUI back after kill -9 -> running again",
                series="engine_killed",
                unit="s",
                goal=15,
                slack=3,
            )
        ],
    ),
)


if __name__ == "__main__":
    raise SystemExit(run.main(MEASUREMENTS, __doc__, "worker"))
