"""`make soak`: run an hour of mixed traffic with cancels, retries, subscribers and kills.

It passes if every job has ended, no process has grown, the audit finds nothing, and GET /metrics
counts the same ends of jobs as the audit. The first worker and its engine are never killed, so that
their memory can be judged. The others are killed from time to time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bench import graphs
from bench.cloud import MeasuredCloud, a_cloud, endpoints_of, measured_cloud, stop_on_sigterm
from bench.memory import Memory
from comfyline.client import AsyncJob, ComfylineClientError
from localcloud.state import Endpoints, State

WORKERS = 2
POST_EVERY_SECONDS = 0.5  # on average
KILL_EVERY_SECONDS = 25.0
SAMPLE_EVERY_SECONDS = 5.0
KEEP_JOBS = 200  # of which one is chosen to be canceled, retried or followed
ENDS = ("succeeded", "failed", "canceled", "expired")
AUDIT_SECONDS = 300  # the sweeper runs each minute, and its grace periods must pass


@dataclass
class Soak:
    """Traffic and kills, drawn from one seed."""

    cloud: MeasuredCloud
    rng: random.Random
    jobs: list[AsyncJob] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)
    memory: Memory = field(default_factory=Memory)
    _following: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, seconds: float) -> None:
        """Make traffic for that long, then wait until every job has ended."""
        tasks = [
            asyncio.create_task(self._repeat(POST_EVERY_SECONDS, self._post)),
            asyncio.create_task(self._repeat(2.0, self._cancel)),
            asyncio.create_task(self._repeat(3.0, self._follow)),
            asyncio.create_task(self._repeat(5.0, self._replay)),
            asyncio.create_task(self._repeat(10.0, self._retry)),
            asyncio.create_task(self._repeat(KILL_EVERY_SECONDS, self._kill)),
            asyncio.create_task(self._sample_memory()),
        ]
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        for task in done:
            task.result()  # a bug of the soak itself
        await self.cloud.drained(within=600)
        await asyncio.wait_for(asyncio.gather(*self._following), 120)

    async def _repeat(self, every: float, act: Callable[[], Awaitable[None]]) -> None:
        name = act.__name__.strip("_")
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / every))
            try:
                await act()
                self.actions[name] += 1
            except (ComfylineClientError, httpx.HTTPError) as error:
                self.actions[f"{name}: {type(error).__name__}"] += 1

    async def _sample_memory(self) -> None:
        while True:
            self.memory.sample(self.cloud.endpoints)
            await asyncio.sleep(SAMPLE_EVERY_SECONDS)

    # --- traffic ----------------------------------------------------------------------------------

    async def _post(self) -> None:
        draw, client = self.rng.random(), self.cloud.client
        if draw < 0.5:
            steps = self.rng.randint(1, 20)
            job = await client.submit(uuid.uuid4().hex, steps=steps, width=64, height=64)
        elif draw < 0.9:
            seconds = self.rng.uniform(0, 2)
            job = await client.submit(workflow=graphs.timed(seconds, is_real=False))
        else:
            job = await client.submit(workflow=_failing_graph())
        self.jobs = [*self.jobs[-KEEP_JOBS:], job]

    async def _cancel(self) -> None:
        await self._chosen(of_last=3).cancel()

    async def _retry(self) -> None:
        job = self._chosen()
        if (await job.refresh()).status in ("failed", "canceled"):
            self.jobs.append(await job.retry())

    async def _replay(self) -> None:
        key = uuid.uuid4().hex
        graph = graphs.timed(0.1, is_real=False)
        posts = (self.cloud.client.submit(workflow=graph, idempotency_key=key) for _ in range(3))
        same = {job.id for job in await asyncio.gather(*posts)}
        assert len(same) == 1, "posts with one idempotency key made more than one job"

    async def _follow(self) -> None:
        task = asyncio.create_task(self._receive(self._chosen(of_last=5)))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _receive(self, job: AsyncJob) -> None:
        """Receive messages until the job's end; some subscribers leave after the first one."""
        leaves = self.rng.random() < 0.3
        async for _ in job.events(600):
            if leaves:
                return

    def _chosen(self, of_last: int = KEEP_JOBS) -> AsyncJob:
        """One of the last jobs. Of the last few, most have not ended yet."""
        if not self.jobs:
            raise ComfylineClientError("there is no job to choose yet")
        return self.rng.choice(self.jobs[-of_last:])

    # --- kills ------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        pids = self.cloud.endpoints.pids
        victim, number = self.rng.choice(
            [
                (pids.workers[-1], signal.SIGKILL),
                (pids.workers[-1], signal.SIGTERM),
                (pids.comfyui[-1], signal.SIGKILL),
            ]
        )
        with suppress(ProcessLookupError):  # it has ended, and is started again now
            os.kill(victim, number)


def _failing_graph() -> graphs.Graph:
    fault = {"images": ["1", 0], "kind": "raise", "nonce": 0}
    blank = graphs.timed(0, is_real=False)["1"]
    return {"1": blank, "2": {"class_type": "ProbeFault", "inputs": fault}}


async def _run_soak(state: State, seconds: float, seed: int) -> Soak:
    async with measured_cloud(state, is_real=False, scale=1.0) as cloud:
        soak = Soak(cloud, random.Random(seed))
        await soak.run(seconds)
        return soak


def _audit(state: State) -> tuple[bool, dict[str, int]]:
    """Whether the audit finds nothing, and the number of jobs by terminal status."""
    command = [sys.executable, "-m", "localcloud", "audit", "--state", str(state.folder)]
    options = ["--wait", str(AUDIT_SECONDS), "--json"]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    counts = json.loads(done.stdout)["counts"]
    return done.returncode == 0, {status: counts[status] for status in ENDS if counts[status]}


def _count_by_metrics(endpoints: Endpoints) -> dict[str, int]:
    """The number of jobs by terminal status, by GET /metrics."""
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    answer = httpx.get(f"{endpoints.api_url}/metrics", headers=headers).raise_for_status()
    samples = [
        sample
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "comfyui_jobs_total"
    ]
    return {s.labels["status"]: int(s.value) for s in samples if s.value}


def main() -> int:
    """The command. Its exit status is 0 if the soak passed."""
    options = argparse.ArgumentParser(description=__doc__)
    minutes = os.environ.get("SOAK_MINUTES", "60")
    options.add_argument("--minutes", type=float, default=minutes, help="(SOAK_MINUTES)")
    options.add_argument("--seed", type=int, default=int(time.time()), help="of the traffic")
    given = options.parse_args()
    stop_on_sigterm()
    with a_cloud(workers=WORKERS) as state:
        soak = asyncio.run(_run_soak(state, 60 * given.minutes, given.seed))
        is_clean, ended = _audit(state)
        counted = _count_by_metrics(endpoints_of(state))
    print(f"seed {given.seed}: {dict(soak.actions)}", *soak.memory.lines(), sep="\n")
    growing = soak.memory.growing()
    print(f"processes that grew: {', '.join(growing) or 'none'}")
    print(f"audit: {'no finding' if is_clean else 'findings, see above'}")
    print(f"ended jobs in the table: {ended}; by GET /metrics: {counted}")
    return int(bool(growing) or not is_clean or ended != counted)


if __name__ == "__main__":
    raise SystemExit(main())
