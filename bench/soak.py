"""`make soak`: an hour of mixed traffic, with cancels, retries, watchers and kills.

At its end every job has ended, no process has grown, the audit finds nothing, and GET /metrics has
counted the ends that the audit finds in the table. The first worker
and its engine are left alone, so that their memory can be judged; the others are killed.
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
from bench.memory import Memory
from bench.stage import Stage, a_cloud, staged
from comfyline.client import AsyncJob, ComfylineClientError
from localcloud.state import Endpoints, State

WORKERS = 2
POST_EVERY_SECONDS = 0.5  # on average
KILL_EVERY_SECONDS = 25.0
LOOK_EVERY_SECONDS = 5.0
KEEP_JOBS = 200  # that may still be canceled, retried, watched
ENDS = ("succeeded", "failed", "canceled", "expired")
AUDIT_SECONDS = 300  # the sweeper comes each minute, and some of its grace has to pass


@dataclass
class Soak:
    """Traffic and misfortunes of one seed."""

    stage: Stage
    luck: random.Random
    jobs: list[AsyncJob] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)
    memory: Memory = field(default_factory=Memory)
    _watching: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, seconds: float) -> None:
        """All of it for so long, then until every job has ended."""
        tasks = [
            asyncio.create_task(self._again(POST_EVERY_SECONDS, self._post)),
            asyncio.create_task(self._again(2.0, self._cancel)),
            asyncio.create_task(self._again(3.0, self._watch)),
            asyncio.create_task(self._again(5.0, self._replay)),
            asyncio.create_task(self._again(10.0, self._retry)),
            asyncio.create_task(self._again(KILL_EVERY_SECONDS, self._kill)),
            asyncio.create_task(self._look_for_ever()),
        ]
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        for task in done:
            task.result()  # a bug of the soak itself
        await self.stage.drained(within=600)
        await asyncio.wait_for(asyncio.gather(*self._watching), 120)

    async def _again(self, every: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self.luck.expovariate(1 / every))
            try:
                await act()
                self.did[act.__name__.strip("_")] += 1
            except (ComfylineClientError, httpx.HTTPError) as error:
                self.did[f"{act.__name__.strip('_')}: {type(error).__name__}"] += 1

    async def _look_for_ever(self) -> None:
        while True:
            self.memory.look(self.stage.endpoints)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    # --- traffic ----------------------------------------------------------------------------------

    async def _post(self) -> None:
        draw, client = self.luck.random(), self.stage.client
        if draw < 0.5:
            steps = self.luck.randint(1, 20)
            job = await client.submit(uuid.uuid4().hex, steps=steps, width=64, height=64)
        elif draw < 0.9:
            seconds = self.luck.uniform(0, 2)
            job = await client.submit(workflow=graphs.timed(seconds, is_real=False))
        else:
            job = await client.submit(workflow=_that_fails())
        self.jobs = [*self.jobs[-KEEP_JOBS:], job]

    async def _cancel(self) -> None:
        await self._one(of_last=3).cancel()

    async def _retry(self) -> None:
        job = self._one()
        if (await job.refresh()).status in ("failed", "canceled"):
            self.jobs.append(await job.retry())

    async def _replay(self) -> None:
        key = uuid.uuid4().hex
        graph = graphs.timed(0.1, is_real=False)
        posts = (self.stage.client.submit(workflow=graph, idempotency_key=key) for _ in range(3))
        same = {job.id for job in await asyncio.gather(*posts)}
        assert len(same) == 1, "one key, more than one job"

    async def _watch(self) -> None:
        task = asyncio.create_task(self._follow(self._one(of_last=5)))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _follow(self, job: AsyncJob) -> None:
        """To its end, or only a little: a client that goes is not told to anybody."""
        leaves = self.luck.random() < 0.3
        async for _ in job.events(600):
            if leaves:
                return

    def _one(self, of_last: int = KEEP_JOBS) -> AsyncJob:
        """Of the last few jobs, which may not have ended yet, or of all."""
        if not self.jobs:
            raise ComfylineClientError("nothing to choose from yet")
        return self.luck.choice(self.jobs[-of_last:])

    # --- misfortunes ------------------------------------------------------------------------------

    async def _kill(self) -> None:
        pids = self.stage.endpoints.pids
        victim, number = self.luck.choice(
            [
                (pids.workers[-1], signal.SIGKILL),
                (pids.workers[-1], signal.SIGTERM),
                (pids.comfyui[-1], signal.SIGKILL),
            ]
        )
        with suppress(ProcessLookupError):  # it is being started again
            os.kill(victim, number)


def _that_fails() -> graphs.Graph:
    fault = {"images": ["1", 0], "kind": "raise", "nonce": 0}
    blank = graphs.timed(0, is_real=False)["1"]
    return {"1": blank, "2": {"class_type": "ProbeFault", "inputs": fault}}


async def _soaked(state: State, seconds: float, seed: int) -> Soak:
    async with staged(state, is_real=False, scale=1.0) as stage:
        soak = Soak(stage, random.Random(seed))
        await soak.run(seconds)
        return soak


def _audited(state: State) -> tuple[bool, dict[str, int]]:
    """Whether the audit found nothing, and how many jobs have ended how."""
    command = [sys.executable, "-m", "localcloud", "audit", "--state", str(state.folder)]
    options = ["--wait", str(AUDIT_SECONDS), "--json"]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    counts = json.loads(done.stdout)["counts"]
    return done.returncode == 0, {status: counts[status] for status in ENDS if counts[status]}


def _counted(endpoints: Endpoints) -> dict[str, int]:
    """The same, as GET /metrics tells it."""
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
    """0 if nothing was lost, nothing has grown, nothing is left and all was counted."""
    options = argparse.ArgumentParser(description=__doc__)
    minutes = os.environ.get("SOAK_MINUTES", "60")
    options.add_argument("--minutes", type=float, default=minutes)
    options.add_argument("--seed", type=int, default=int(time.time()))
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and leave no cloud behind
    with a_cloud(workers=WORKERS) as state:
        soak = asyncio.run(_soaked(state, 60 * given.minutes, given.seed))
        is_clean, ended = _audited(state)
        endpoints = state.read()
        counted = _counted(endpoints) if endpoints else {}
    print(f"seed {given.seed}: {dict(soak.did)}", *soak.memory.lines(), sep="\n")
    growing = soak.memory.growing()
    print(f"grown: {', '.join(growing) or 'nothing'}; the audit: {'clean' if is_clean else 'not'}")
    print(f"ended: {ended}; by /metrics: {counted}")
    return int(bool(growing) or not is_clean or ended != counted)


if __name__ == "__main__":
    raise SystemExit(main())
