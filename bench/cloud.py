"""The local cloud that is measured, with its clients and its watched engines."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from bench.engines import Engines
from comfyline.client import AsyncComfyline
from localcloud.state import Endpoints, State

VISIBILITY_SECONDS = 20.0  # of the queues in the local deployment
TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.05
DRAIN_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCloud:
    """A deployment under measurement."""

    state: State
    engines: Engines
    client: AsyncComfyline
    http: httpx.AsyncClient  # for plain requests to the API, with the first owner's key
    is_real: bool  # whether a real ComfyUI runs, which all workers share
    scale: float = 1.0  # factor on the number of jobs; less is faster and less exact

    @property
    def endpoints(self) -> Endpoints:
        """The current endpoints: a process that was started again has another pid."""
        return endpoints_of(self.state)

    def many(self, count: int) -> int:
        """The count times the scale, and at least two."""
        return max(2, round(count * self.scale))

    async def history(self, job_id: str) -> list[dict[str, Any]]:
        """The job's events, each with its time."""
        answer = await self.http.get(f"/jobs/{job_id}/events")
        return list(answer.raise_for_status().json()["events"])

    async def drained(self, within: float = TIMEOUT_SECONDS) -> None:
        """Wait until no job is queued or running.

        It polls the list of jobs, because a subscriber for each job would cause calls of functions.

        Raises:
            TimeoutError: some jobs have not ended in time.
        """

        async def is_empty() -> bool:
            for status in ("queued", "running"):
                answer = await self.http.get("/jobs", params={"status": status, "limit": 1})
                if answer.raise_for_status().json()["jobs"]:
                    return False
            return True

        await until(is_empty, within=within, every=DRAIN_POLL_SECONDS)

    async def faults(self, **switches: Any) -> None:
        """Set faults and times of the simulators."""
        for url in self.endpoints.comfyui_urls:
            async with httpx.AsyncClient(trust_env=False) as http:
                (await http.post(f"{url}/sim/faults", json=switches)).raise_for_status()

    @asynccontextmanager
    async def step_ms(self, milliseconds: float) -> AsyncIterator[None]:
        """Set the time of a sampler step in the block. It does nothing with a real ComfyUI."""
        if self.is_real:
            yield
            return
        await self.faults(step_ms=milliseconds)
        try:
            yield
        finally:
            for url in self.endpoints.comfyui_urls:
                async with httpx.AsyncClient(trust_env=False) as http:
                    await http.delete(f"{url}/sim/faults")


async def until(
    poll: Callable[[], Awaitable[Any]],
    *,
    within: float = TIMEOUT_SECONDS,
    every: float = POLL_SECONDS,
) -> Any:
    """The first truthy answer of `poll`.

    Raises:
        TimeoutError: there was none in time.
    """
    give_up_at = time.monotonic() + within
    while not (answer := await poll()):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"the answer was still {answer!r} after {within} s")
        await asyncio.sleep(every)
    return answer


async def happened(cloud: MeasuredCloud, job_id: str, event: str, attempt: int = 1) -> float:
    """The time of the event in the job's history, in seconds since the epoch.

    Raises:
        TimeoutError: the event did not happen in time.
    """

    async def times() -> list[str]:
        changes = await cloud.history(job_id)
        return [c["at"] for c in changes if (c["event"], c["attempt"]) == (event, attempt)]

    found = await until(times)
    return datetime.fromisoformat(found[0]).timestamp()


def endpoints_of(state: State) -> Endpoints:
    """The endpoints of a cloud; the program ends if it is not up."""
    endpoints = state.read()
    if endpoints is None:
        raise SystemExit(f"No local cloud is up in {state.folder}. To start one: make up")
    return endpoints


def stop_on_sigterm() -> None:
    """Exit on SIGTERM, so that `a_cloud` stops its cloud."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> float:
    """Send the signal, and return the time, in seconds since the epoch."""
    at = time.time()
    os.kill(pid, number)
    return at


@contextmanager
def a_cloud(
    given: Path | None = None, *, workers: int = 1, comfyui_url: str | None = None
) -> Iterator[State]:
    """The local cloud of the given endpoints.json, or a new one until the block ends."""
    if given is not None:
        yield State(given.parent.absolute())
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "localcloud"]
        options = ["--state", folder, "--port", "0", "--workers", str(workers)]
        options += ["--comfyui-url", comfyui_url] if comfyui_url else []
        subprocess.run([*command, "up", *options], check=True, stdout=sys.stderr)
        try:
            yield State(Path(folder))
        finally:
            down = [*command, "down", "--state", folder]
            subprocess.run(down, check=True, stdout=sys.stderr)


@asynccontextmanager
async def measured_cloud(
    state: State, *, is_real: bool, scale: float
) -> AsyncIterator[MeasuredCloud]:
    """Clients and watched engines of a cloud that is up."""
    endpoints = endpoints_of(state)
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    base, where = f"{endpoints.api_url}/api/v1", (endpoints.api_url, endpoints.api_key)
    limits = httpx.Limits(max_connections=None)
    async with (
        AsyncComfyline(*where, endpoints.ws_url) as client,
        httpx.AsyncClient(
            base_url=base, headers=headers, timeout=30, trust_env=False, limits=limits
        ) as http,
        Engines.watched(dict.fromkeys(endpoints.comfyui_urls)) as engines,
    ):
        yield MeasuredCloud(
            state=state, engines=engines, client=client, http=http, is_real=is_real, scale=scale
        )
