"""What the engines do, as they tell it themselves.

ComfyUI tells every socket how long its queue is, the running prompt included: as it is given one,
as it takes one, and as it has ended one. So a socket of our own, beside the worker's, hears when an
engine has nothing to do. What lies between two prompts that it both has is its own.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Told:
    """An engine has said how many prompts it has."""

    at: float  # seconds since the epoch
    engine: int
    remaining: int


@dataclass(slots=True)
class Engines:
    """All that the engines have told since they were watched."""

    told: list[Told] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @classmethod
    @asynccontextmanager
    async def watched(cls, urls: Iterable[str]) -> AsyncIterator[Engines]:
        """Listen until the block ends; one that dies is listened to again when it is back."""
        engines, ready = cls(), []
        tasks = []
        for number, url in enumerate(urls):
            ready.append(asyncio.Event())
            tasks.append(asyncio.create_task(engines._listen(number, url, ready[-1])))
        try:
            await asyncio.gather(*(event.wait() for event in ready))
            yield engines
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, number: int, url: str, ready: asyncio.Event) -> None:
        where = url.replace("http", "ws", 1) + f"/ws?clientId={uuid.uuid4()}"
        while True:
            with suppress(OSError, WebSocketException):
                async with connect(where, max_size=None, proxy=None) as socket:
                    async for frame in socket:
                        await self._hear(number, frame)
                        ready.set()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _hear(self, number: int, frame: str | bytes) -> None:
        at = time.time()
        told = json.loads(frame) if isinstance(frame, str) else {}
        if told.get("type") != "status":
            return
        remaining = told["data"]["status"]["exec_info"]["queue_remaining"]
        async with self._news:
            self.told.append(Told(at, number, remaining))
            self._news.notify_all()

    async def next_taken(self, since: float, within: float = 60.0) -> Told:
        """The first prompt that an engine has been given since."""
        return await self._first(lambda told: told.at >= since and told.remaining > 0, within)

    def second_begun(self, since: float) -> Told | None:
        """When an engine that had two prompts has gone over to the second, if it has."""
        later = [told for told in self.told if told.at >= since]
        both = next((n for n, told in enumerate(later) if told.remaining == 2), len(later))
        return next((told for told in later[both:] if told.remaining == 1), None)

    async def next_idle(self, since: float, within: float = 120.0) -> Told:
        """The first time that an engine has had nothing left since."""
        return await self._first(lambda told: told.at >= since and told.remaining == 0, within)

    async def _first(self, is_it: Callable[[Told], bool], within: float) -> Told:
        async with asyncio.timeout(within), self._news:
            while True:
                for told in self.told:
                    if is_it(told):
                        return told
                await self._news.wait()


def idle_share(told: Sequence[Told], start: float, end: float) -> float:
    """The share of the time from `start` to `end` in which one engine had no prompt."""
    idle, since, is_idle = 0.0, start, True
    for each in told:
        is_idle_now = each.remaining == 0
        if start < each.at <= end and is_idle:
            idle += each.at - since
        if each.at <= end:
            since, is_idle = max(each.at, start), is_idle_now
    return (idle + (end - since if is_idle else 0.0)) / (end - start)
