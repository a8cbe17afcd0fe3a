"""Many sockets that follow one job, and how long its end takes to the last of them.

They are opened a few at a time, while the engine is held in a step: a new socket is a call of three
functions, and each call beside others is a process of the emulator. Beside the end stands what the
gateway takes for as many posts that nothing else goes with.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect

from bench.figures import Series
from bench.stage import PATIENCE_SECONDS, Stage
from localcloud.cloud import administration
from localcloud.state import ROOT

WATCHERS = 200
OPENED_AT_ONCE = 8
# Minutes in which nothing ends and next to nothing is told; the last step of them is waited for.
HELD_STEP_MS, HELD_STEPS = 5_000.0, 100
RELEASED_STEP_MS = 1.0
POSTS_EACH = 3  # that a watcher is sent at the end: the state, a file, `done`


@dataclass(slots=True)
class Watcher:
    """One socket, and when what counts has come to it; seconds since the epoch."""

    socket: ClientConnection
    bare: list[float] = field(default_factory=list)
    done_at: float = 0.0

    async def listen(self) -> None:
        """Until `done`."""
        async for raw in self.socket:
            at, kind = time.time(), json.loads(raw)["type"]
            if kind == "bare":
                self.bare.append(at)
            if kind == "done":
                self.done_at = at
                return


async def many_watchers(stage: Stage) -> Series:
    """One job that all follow; all of them are there before it ends."""
    since = time.time()
    async with stage.step_ms(HELD_STEP_MS), AsyncExitStack() as open_ones:
        job = await stage.client.submit(uuid.uuid4().hex, steps=HELD_STEPS, width=64, height=64)
        opening = _opened(stage, job.id, stage.many(WATCHERS))
        watchers = await open_ones.enter_async_context(opening)
        listening = asyncio.gather(*(each.listen() for each in watchers))
        bare = await _bare_posts(stage, job.id, watchers)
        assert not listening.done(), "the job has ended before all sockets were open"
        await stage.faults(step_ms=RELEASED_STEP_MS)
        await asyncio.wait_for(listening, PATIENCE_SECONDS)
    ended = await stage.engines.next_idle((await stage.engines.next_taken(since)).at)
    assert all(each.done_at for each in watchers), "a socket was closed before the end was told"
    ends = [1000 * (each.done_at - ended.at) for each in watchers]
    return {"end_for_many": ends, "bare_for_many": bare}


@asynccontextmanager
async def _opened(stage: Stage, job_id: str, count: int) -> AsyncIterator[Sequence[Watcher]]:
    """So many sockets that follow the job; each has its snapshot."""
    url = f"{stage.endpoints.ws_url}?job_id={job_id}"
    headers = {"Authorization": f"Bearer {stage.endpoints.api_key}"}
    free = asyncio.Semaphore(OPENED_AT_ONCE)

    async def one() -> ClientConnection:
        async with free:
            opening = connect(
                url, additional_headers=headers, proxy=None, open_timeout=PATIENCE_SECONDS
            )
            socket = await stack.enter_async_context(opening)
            await asyncio.wait_for(socket.recv(), PATIENCE_SECONDS)
            return socket

    async with AsyncExitStack() as stack:
        sockets = await asyncio.gather(*(one() for _ in range(count)))
        yield [Watcher(socket) for socket in sockets]


async def _bare_posts(stage: Stage, job_id: str, watchers: Sequence[Watcher]) -> Sequence[float]:
    """Milliseconds from the first bare post to the last that each watcher is sent."""
    posting = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.bare_posts", job_id, str(POSTS_EACH)),
        cwd=ROOT,
        env=administration(stage.endpoints),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(posting.communicate(), PATIENCE_SECONDS)
    started = float(said)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(len(each.bare) <= POSTS_EACH for each in watchers):
            await asyncio.sleep(0.01)
    return [1000 * (each.bare[-1] - started) for each in watchers]
