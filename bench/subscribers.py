"""How long the end of a job takes to reach many subscribers.

The sockets are opened a few at a time, while the engine is held in a step, because a new socket
calls three functions, and each parallel call is a process of the emulator. For comparison, the
gateway is measured alone, with the same number of posts.
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

from bench.cloud import TIMEOUT_SECONDS, MeasuredCloud
from bench.figures import Series
from localcloud.cloud import administration
from localcloud.state import ROOT

SUBSCRIBERS = 200
OPENED_AT_ONCE = 8
# The job runs for minutes and reports little progress, until a shorter step time is set.
HELD_STEP_MS, HELD_STEPS = 5_000.0, 100
RELEASED_STEP_MS = 1.0
POSTS_EACH = 3  # messages to each subscriber at the end: the state, a file, `done`


@dataclass(slots=True)
class SubscribedSocket:
    """One socket, and the times of its bare posts and of `done`, in seconds since the epoch."""

    socket: ClientConnection
    bare: list[float] = field(default_factory=list)
    done_at: float = 0.0

    async def listen(self) -> None:
        """Receive messages until `done`."""
        async for raw in self.socket:
            at, kind = time.time(), json.loads(raw)["type"]
            if kind == "bare":
                self.bare.append(at)
            if kind == "done":
                self.done_at = at
                return


async def many_subscribers(cloud: MeasuredCloud) -> Series:
    """One job with many subscribers, which all connect before it ends."""
    since = time.time()
    async with cloud.step_ms(HELD_STEP_MS), AsyncExitStack() as stack:
        job = await cloud.client.submit(uuid.uuid4().hex, steps=HELD_STEPS, width=64, height=64)
        opening = _opened(cloud, job.id, cloud.many(SUBSCRIBERS))
        sockets = await stack.enter_async_context(opening)
        listening = asyncio.gather(*(socket.listen() for socket in sockets))
        bare = await _bare_posts(cloud, job.id, sockets)
        assert not listening.done(), "the job ended before all sockets were open"
        await cloud.faults(step_ms=RELEASED_STEP_MS)
        await asyncio.wait_for(listening, TIMEOUT_SECONDS)
    ended = await cloud.engines.next_idle((await cloud.engines.next_taken(since)).at)
    assert all(socket.done_at for socket in sockets), "a socket closed before it received done"
    ends = [1000 * (socket.done_at - ended.at) for socket in sockets]
    return {"end_for_many": ends, "bare_for_many": bare}


@asynccontextmanager
async def _opened(
    cloud: MeasuredCloud, job_id: str, count: int
) -> AsyncIterator[Sequence[SubscribedSocket]]:
    """That many sockets which follow the job, and which have received its snapshot."""
    url = f"{cloud.endpoints.ws_url}?job_id={job_id}"
    headers = {"Authorization": f"Bearer {cloud.endpoints.api_key}"}
    free = asyncio.Semaphore(OPENED_AT_ONCE)

    async def opened() -> ClientConnection:
        async with free:
            opening = connect(
                url, additional_headers=headers, proxy=None, open_timeout=TIMEOUT_SECONDS
            )
            socket = await stack.enter_async_context(opening)
            await asyncio.wait_for(socket.recv(), TIMEOUT_SECONDS)
            return socket

    async with AsyncExitStack() as stack:
        sockets = await asyncio.gather(*(opened() for _ in range(count)))
        yield [SubscribedSocket(socket) for socket in sockets]


async def _bare_posts(
    cloud: MeasuredCloud, job_id: str, sockets: Sequence[SubscribedSocket]
) -> Sequence[float]:
    """Milliseconds from the first bare post to the last one that each socket receives."""
    posting = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.bare_posts", job_id, str(POSTS_EACH)),
        cwd=ROOT,
        env=administration(cloud.endpoints),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(posting.communicate(), TIMEOUT_SECONDS)
    started = float(output)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while any(len(socket.bare) <= POSTS_EACH for socket in sockets):
            await asyncio.sleep(0.01)
    return [1000 * (socket.bare[-1] - started) for socket in sockets]
