"""How live is live progress: from what ComfyUI tells to what a client hears.

ComfyUI tells every socket how long its queue is: as it takes a prompt, and as it has ended one.
The first becomes the status `running`, which nothing coalesces, and the second `done`; a socket of
our own beside the worker's hears both, and a client yields them, on the same clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from websockets.asyncio.client import connect

from comfyline import wire
from comfyline.client import AsyncComfyline
from localcloud.state import Endpoints, State

Heard = Mapping[str, float]  # seconds since the epoch by what was heard

GOALS = {  # milliseconds, p50 and p95; None: nothing was promised
    "ComfyUI event -> client": (100, 300),
    "end of GPU work -> done": (150, None),
    "end of GPU work -> done, each of many watchers": (None, 1000),
}


async def heard(client: AsyncComfyline, job_id: str, ready: asyncio.Event | None = None) -> Heard:
    """When a client hears that the job runs, and that it is done."""
    times: dict[str, float] = {}
    async for message in client.job(job_id).events(300):
        if ready is not None:
            ready.set()
        if isinstance(message, wire.StatusMessage) and message.status == "running":
            times.setdefault("running", time.time())
        if isinstance(message, wire.DoneMessage):
            times["done"] = time.time()
    return times


class Engines:
    """Hears when the engines took their last prompt, and when they ended it."""

    def __init__(self) -> None:
        self.taken_at = self.ended_at = 0.0

    async def listen(self, url: str) -> None:
        """Until cancelled."""
        where = url.replace("http", "ws", 1) + f"/ws?clientId={uuid.uuid4()}"
        async with connect(where, max_size=None) as socket:
            async for frame in socket:
                told = json.loads(frame) if isinstance(frame, str) else {}
                if told.get("type") == "status" and "sid" not in told["data"]:
                    self._note(told["data"]["status"]["exec_info"]["queue_remaining"])

    def _note(self, remaining: int) -> None:
        if remaining:
            self.taken_at = time.time()
        else:
            self.ended_at = time.time()


async def one_job(engines: Engines, client: AsyncComfyline) -> tuple[float, float]:
    """Seconds from the start, and from the end of GPU work, to what the client hears of it."""
    job = await client.submit(uuid.uuid4().hex, steps=20, width=64, height=64)
    times = await heard(client, job.id)
    return times["running"] - engines.taken_at, times["done"] - engines.ended_at


async def one_job_of_many_watchers(
    endpoints: Endpoints, engines: Engines, client: AsyncComfyline, watchers: int
) -> list[float]:
    """The same from the end, for each of many; all of them are there before it ends."""
    for url in endpoints.comfyui_urls:
        httpx.post(f"{url}/sim/faults", json={"step_ms": 100}, trust_env=False).raise_for_status()
    job = await client.submit(uuid.uuid4().hex, steps=900, width=64, height=64)
    ready = [asyncio.Event() for _ in range(watchers)]
    watching = [asyncio.create_task(heard(client, job.id, each)) for each in ready]
    await asyncio.gather(*(each.wait() for each in ready))
    for url in endpoints.comfyui_urls:
        httpx.delete(f"{url}/sim/faults", trust_env=False).raise_for_status()
    times = await asyncio.gather(*watching)
    return [each["done"] - engines.ended_at for each in times]


def line(name: str, seconds: Sequence[float]) -> str:
    """One result beside its goal."""
    p50, p95 = (statistics.quantiles(seconds, n=100, method="inclusive")[n] for n in (49, 94))
    goals = [f"{g} ms" if g else "-" for g in GOALS[name]]
    figures = (
        f"p50 {p50 * 1000:6.0f} ms (goal {goals[0]})  p95 {p95 * 1000:6.0f} ms (goal {goals[1]})"
    )
    return f"{name:<48} n={len(seconds):<4} {figures}"


async def measure(endpoints: Endpoints, jobs: int, watchers: int) -> None:
    """Print all of it."""
    engines = Engines()
    listening = [asyncio.create_task(engines.listen(url)) for url in endpoints.comfyui_urls]
    where = (endpoints.api_url, endpoints.api_key, endpoints.ws_url)
    async with AsyncComfyline(*where) as client:
        await one_job(engines, client)  # the functions' cold starts are nobody's progress
        pairs = [await one_job(engines, client) for _ in range(jobs)]
        print(line("ComfyUI event -> client", [start for start, _ in pairs]))
        print(line("end of GPU work -> done", [end for _, end in pairs]), flush=True)
        many = await one_job_of_many_watchers(endpoints, engines, client, watchers)
        print(line("end of GPU work -> done, each of many watchers", many))
    for task in listening:
        task.cancel()


@contextmanager
def a_cloud(given: Path | None) -> Iterator[Endpoints]:
    """The local cloud that is up, or one for the time being."""
    with tempfile.TemporaryDirectory() as folder:
        state = State(given.parent if given else Path(folder))
        command = [sys.executable, "-m", "localcloud"]
        if given is None:
            subprocess.run([*command, "up", "--state", folder], check=True, stdout=sys.stderr)
        try:
            endpoints = state.read()
            assert endpoints is not None, f"nothing is up in {state.folder}"
            yield endpoints
        finally:
            if given is None:
                subprocess.run([*command, "down", "--state", folder], check=True, stdout=sys.stderr)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--endpoints", type=Path, help="endpoints.json of a local cloud that is up"
    )
    options.add_argument("--jobs", type=int, default=30)
    options.add_argument("--watchers", type=int, default=200)
    given = options.parse_args()
    with a_cloud(given.endpoints) as endpoints:
        asyncio.run(measure(endpoints, given.jobs, given.watchers))


if __name__ == "__main__":
    main()
