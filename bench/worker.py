"""`make bench-worker`: is the GPU ever idle, and what does a crash cost."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from bench import graphs, run
from bench.engines import idle_share
from bench.figures import Figure, Measurement, Series
from bench.stage import VISIBILITY_SECONDS, Stage, happened, kill, until
from comfyline.client import AsyncJob

AT_ONCE = 10  # posts
SHORT_SECONDS, SHORT_JOBS = 0.2, 100
LARGE_SECONDS, LARGE_JOBS = 2.0, 15
POST_SECONDS = 0.3  # of one post, with a margin: for so long the first job holds the engine
LONG_STEPS, LONG_STEP_MS = 400, 20  # 8 s on the GPU
LONG_CHAIN = 40  # at least as long on a real one
DISPATCHES = 20


# --- a backlog ------------------------------------------------------------------------------------


async def short_backlog(stage: Stage) -> Series:
    """Many jobs of 200 ms."""
    count = stage.many(SHORT_JOBS)
    short = [graphs.timed(SHORT_SECONDS, is_real=stage.is_real) for _ in range(count)]
    return {"idle_short": [await _idle_percent(stage, short, {})]}


async def large_backlog(stage: Stage) -> Series:
    """Fewer jobs of 2 s, each of which makes a file of 20 MB."""
    count = stage.many(LARGE_JOBS)
    with tempfile.TemporaryDirectory() as folder:
        files = {"1.image": await asyncio.to_thread(graphs.noise, Path(folder))}
        large = [graphs.large(LARGE_SECONDS, is_real=stage.is_real) for _ in range(count)]
        return {"idle_large": [await _idle_percent(stage, large, files)]}


async def _idle_percent(
    stage: Stage, backlog: Sequence[graphs.Graph], files: dict[str, Path]
) -> float:
    """Of the time from the last post to the end of the last prompt, what the engine had none."""
    gate = asyncio.Semaphore(AT_ONCE)
    hold = graphs.timed(POST_SECONDS * len(backlog) / AT_ONCE, is_real=stage.is_real)

    async def post(graph: graphs.Graph) -> AsyncJob:
        async with gate:
            return await stage.client.submit(workflow=graph, files=files or None)

    since = time.time()
    await stage.client.submit(workflow=hold)
    await stage.engines.next_taken(since)
    await asyncio.gather(*map(post, backlog))
    posted = time.time()
    await stage.drained(within=600)
    told = [each for each in stage.engines.told if each.at >= since]
    ended = max(each.at for each in told if each.remaining == 0)
    return 100 * idle_share(told, min(posted, ended - 1), ended)


# --- an idle worker -------------------------------------------------------------------------------


async def dispatch(stage: Stage) -> Series:
    """From the client's call to the prompt's arrival in the engine's queue."""
    times = []
    for _ in range(stage.many(DISPATCHES)):
        since = time.time()
        job = await stage.client.submit(workflow=graphs.timed(0.0, is_real=stage.is_real))
        taken = await stage.engines.next_taken(since)
        times.append(1000 * (taken.at - since))
        await job.wait(60)
        await asyncio.sleep(0.1)  # the worker lies in its long polls again
    return {"dispatch": times}


# --- a crash --------------------------------------------------------------------------------------


async def worker_killed(stage: Stage) -> Series:
    """kill -9 of the worker that runs a job, while another is idle: how long nothing runs it."""
    async with stage.step_ms(LONG_STEP_MS):
        job, engine = await _long_job(stage)
        killed = kill(_worker_of(stage, engine))
        again = await _started(stage, job, attempt=2)
        await _judge(stage, job)
    return {"worker_killed": [again - killed]}


async def worker_told_to_go(stage: Stage) -> Series:
    """SIGTERM to the worker that runs a job: when it waits again."""
    async with stage.step_ms(LONG_STEP_MS):
        job, engine = await _long_job(stage)
        told = kill(_worker_of(stage, engine), signal.SIGTERM)
        queued = await happened(stage, job.id, "interrupted")
        await _judge(stage, job)
    return {"worker_told_to_go": [queued - told]}


async def engine_killed(stage: Stage) -> Series:
    """kill -9 of the engine that runs a job: from its restart to the job's."""
    async with stage.step_ms(LONG_STEP_MS):
        job, engine = await _long_job(stage)
        before = stage.endpoints.pids.comfyui[engine]
        kill(before)

        async def is_back() -> bool:
            pids = stage.endpoints.pids.comfyui
            return len(pids) > engine and pids[engine] != before

        await until(is_back)
        back = time.time()
        again = await _started(stage, job, attempt=2)
        await _judge(stage, job)
    return {"engine_killed": [again - back]}


async def _long_job(stage: Stage) -> tuple[AsyncJob, int]:
    """A job of some seconds that an engine runs now, and which engine that is."""
    since = time.time()
    if stage.is_real:
        job = await stage.client.submit(workflow=graphs.chain(LONG_CHAIN))
    else:
        job = await stage.client.submit(uuid.uuid4().hex, steps=LONG_STEPS, width=64, height=64)
    taken = await stage.engines.next_taken(since)
    await _started(stage, job, attempt=1)
    return job, taken.engine


def _worker_of(stage: Stage, engine: int) -> int:
    """The worker beside that engine; a real one is shared, and then there is one worker."""
    return stage.endpoints.pids.workers[engine]


async def _started(stage: Stage, job: AsyncJob, *, attempt: int) -> float:
    return await happened(stage, job.id, "started", attempt)


async def _judge(stage: Stage, job: AsyncJob) -> None:
    """It ended once, well, and shows one attempt's files."""
    view = await job.wait(300)
    history = await stage.history(job.id)
    ended = [each["status"] for each in history if each["status"] not in ("queued", "running")]
    assert ended == ["succeeded"], history
    assert view.result is not None
    assert len(view.result.artifacts) == 1, view


MEASUREMENTS = (
    Measurement(
        name="a backlog of short jobs",
        take=short_backlog,
        figures=[
            Figure(name="GPU idle, 200 ms jobs", series="idle_short", unit="%", goal=1.0, slack=0.5)
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
        name="dispatch to an idle worker",
        take=dispatch,
        figures=[
            Figure(name="submit -> POST /prompt, p50", series="dispatch", goal=150, slack=50),
            Figure(
                name="submit -> POST /prompt, p95",
                series="dispatch",
                statistic="p95",
                goal=300,
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
        name="a worker is told to go",
        take=worker_told_to_go,
        workers=2,
        figures=[
            Figure(
                name="SIGTERM -> queued again",
                series="worker_told_to_go",
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
