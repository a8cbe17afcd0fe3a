"""Where the benchmarks play: a local cloud, with its processes in reach and its engines watched."""

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

VISIBILITY_SECONDS = 20.0  # of the local deployment
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.05
DRAINED_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One deployment under measurement."""

    state: State
    engines: Engines
    client: AsyncComfyline
    http: httpx.AsyncClient  # the API as it is, with the first owner's key
    is_real: bool  # a real ComfyUI, which all workers share
    scale: float = 1.0  # of how much is done; less is quicker and says less

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is now: what was started again has another pid."""
        found = self.state.read()
        if found is None:
            raise SystemExit(f"nothing is up in {self.state.folder}")
        return found

    def many(self, count: int) -> int:
        """So many, or as many as the scale leaves; never less than two."""
        return max(2, round(count * self.scale))

    async def history(self, job_id: str) -> list[dict[str, Any]]:
        """A job's changes of state, each with its time as seconds since the epoch."""
        answer = await self.http.get(f"/jobs/{job_id}/events")
        return list(answer.raise_for_status().json()["events"])

    async def drained(self, within: float = PATIENCE_SECONDS) -> None:
        """Return once no job of ours waits or runs. One look for all: watchers would cost calls.

        Raises:
            TimeoutError: some still do.
        """

        async def is_empty() -> bool:
            for status in ("queued", "running"):
                answer = await self.http.get("/jobs", params={"status": status, "limit": 1})
                if answer.raise_for_status().json()["jobs"]:
                    return False
            return True

        await until(is_empty, within=within, every=DRAINED_SECONDS)

    async def faults(self, **switches: Any) -> None:
        """Switch the simulators' faults and times."""
        for url in self.endpoints.comfyui_urls:
            async with httpx.AsyncClient(trust_env=False) as http:
                (await http.post(f"{url}/sim/faults", json=switches)).raise_for_status()

    @asynccontextmanager
    async def step_ms(self, milliseconds: float) -> AsyncIterator[None]:
        """Each sampler step takes so long; a real engine takes what it takes."""
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
    look: Callable[[], Awaitable[Any]],
    *,
    within: float = PATIENCE_SECONDS,
    every: float = LOOK_SECONDS,
) -> Any:
    """The first truthy answer of `look`.

    Raises:
        TimeoutError: there was none in time.
    """
    give_up_at = time.monotonic() + within
    while not (answer := await look()):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"still {answer!r} after {within} s")
        await asyncio.sleep(every)
    return answer


async def happened(stage: Stage, job_id: str, event: str, attempt: int = 1) -> float:
    """When the job's history says that it did, in seconds since the epoch.

    Raises:
        TimeoutError: it did not.
    """

    async def look() -> list[str]:
        changes = await stage.history(job_id)
        return [c["at"] for c in changes if (c["event"], c["attempt"]) == (event, attempt)]

    found = await until(look)
    return datetime.fromisoformat(found[0]).timestamp()


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> float:
    """Send the signal; when that was, in seconds since the epoch."""
    at = time.time()
    os.kill(pid, number)
    return at


@contextmanager
def a_cloud(
    given: Path | None = None, *, workers: int = 1, comfyui_url: str | None = None
) -> Iterator[State]:
    """The local cloud whose endpoints.json is given, or one for the time being."""
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
async def staged(state: State, *, is_real: bool, scale: float) -> AsyncIterator[Stage]:
    """Clients and watched engines of a cloud that is up."""
    endpoints = state.read()
    if endpoints is None:
        raise SystemExit(f"nothing is up in {state.folder}")
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
        yield Stage(
            state=state, engines=engines, client=client, http=http, is_real=is_real, scale=scale
        )
