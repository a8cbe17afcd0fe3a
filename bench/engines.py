"""When the engines have work, as they report it themselves.

ComfyUI sends the length of its queue, including the running prompt, to every socket: when it
receives a prompt, when it takes one, and when one has ended. So a socket of the benchmark, beside
the worker's, sees when an engine is idle. The time between two prompts that are both in the
engine's queue is the engine's own, and does not count as idle.
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

RECONNECT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class QueueReport:
    """An engine's report of the number of its prompts."""

    at: float  # seconds since the epoch
    engine: int
    remaining: int


@dataclass(slots=True)
class Engines:
    """All reports of the engines since `watched` began."""

    reports: list[QueueReport] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @classmethod
    @asynccontextmanager
    async def watched(cls, urls: Iterable[str]) -> AsyncIterator[Engines]:
        """Listen to the engines until the block ends, and again to one that was restarted."""
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
                        await self._note(number, frame)
                        ready.set()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _note(self, number: int, frame: str | bytes) -> None:
        at = time.time()
        message = json.loads(frame) if isinstance(frame, str) else {}
        if message.get("type") != "status":
            return
        remaining = message["data"]["status"]["exec_info"]["queue_remaining"]
        async with self._news:
            self.reports.append(QueueReport(at, number, remaining))
            self._news.notify_all()

    async def next_taken(self, since: float, within: float = 60.0) -> QueueReport:
        """The first report after `since` by an engine that has a prompt."""
        return await self._first(lambda report: report.remaining > 0, since, within)

    async def next_idle(self, since: float, within: float = 120.0) -> QueueReport:
        """The first report after `since` by an engine that has no prompt."""
        return await self._first(lambda report: report.remaining == 0, since, within)

    def second_begun(self, since: float) -> QueueReport | None:
        """The report after which an engine with two prompts ran the second one, if any."""
        later = [report for report in self.reports if report.at >= since]
        both = next((n for n, report in enumerate(later) if report.remaining == 2), len(later))
        return next((report for report in later[both:] if report.remaining == 1), None)

    async def _first(
        self, is_wanted: Callable[[QueueReport], bool], since: float, within: float
    ) -> QueueReport:
        async with asyncio.timeout(within), self._news:
            while True:
                for report in self.reports:
                    if report.at >= since and is_wanted(report):
                        return report
                await self._news.wait()


def idle_share(reports: Sequence[QueueReport], start: float, end: float) -> float:
    """The share of the time from `start` to `end` in which one engine had no prompt."""
    idle, since, is_idle = 0.0, start, True
    for report in reports:
        if start < report.at <= end and is_idle:
            idle += report.at - since
        if report.at <= end:
            since, is_idle = max(report.at, start), report.remaining == 0
    return (idle + (end - since if is_idle else 0.0)) / (end - start)


def idle_times(reports: Sequence[QueueReport]) -> list[float]:
    """Seconds of each time in which one engine had no prompt, between two in which it had some."""
    times, since = list[float](), None
    for report in reports:
        if report.remaining == 0:
            since = report.at if since is None else since
        elif since is not None:
            times.append(report.at - since)
            since = None
    return times
