"""Write to the job's row how the attempt goes: the start at once, progress and files coalesced.

The answer of each write is the current row, so the worker learns of a cancel without a read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from comfyline.service.clock import Clock
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.report import report_progress, report_started, report_stored
from comfyline.service.jobs.result import Artifact
from comfyline.service.jobs.store import JobStore

WATCHED_INTERVAL = timedelta(milliseconds=500)  # a person sees the progress bar move
# An idle worker starts a job before its submitter's WebSocket is open. A job that has waited for
# this long since its post has a subscriber by its start, if it gets one at all.
TIME_TO_SUBSCRIBE = timedelta(seconds=3)

_log = logging.getLogger(__name__)


class Reporter:
    """The only writer of a job's row while the attempt runs."""

    def __init__(
        self,
        job: Job,
        store: JobStore,
        clock: Clock,
        *,
        on_row: Callable[[Job], None],
        unwatched: timedelta,
    ) -> None:
        self.job = job  # the newest row that an answer has shown
        self._store, self._clock = store, clock
        self._unwatched = unwatched  # between two writes while the job has no subscriber
        self._on_row = on_row  # called with the row of each answer
        self._has_started = False  # ComfyUI executes the prompt
        self._progress: Progress | None = None  # the latest, written or not
        self._written: Progress | None = None  # the last that was written
        self._previews = 0  # how many are stored
        self._files: Sequence[Artifact] = ()  # stored so far, while more are to come
        self._news = asyncio.Event()  # set when there may be something to write
        self._writing = asyncio.Lock()  # held during each write, and while the attempt ends

    def started(self) -> None:
        """ComfyUI has begun to execute the prompt."""
        self._has_started = True
        self._news.set()

    def progressed(self, progress: Progress) -> None:
        """Take the latest progress; it replaces any that was not written yet."""
        self._progress = progress
        self._news.set()

    def previewed(self, count: int) -> None:
        """`count` previews have been stored so far, each in place of the one before."""
        self._previews = count
        self._news.set()

    def stored(self, files: Sequence[Artifact]) -> None:
        """Take the files stored so far, while more are to come.

        They are written to the row only while the job is watched. A client that reads the job later
        does not need them there, because the terminal write lists all files.
        """
        self._files = files
        self._news.set()

    def received(self, job: Job) -> None:
        """Take the row that a write has answered, unless a newer one is known."""
        if job.version >= self.job.version:
            self.job = job
        self._on_row(job)

    async def write_for_ever(self) -> None:
        """Write what the row does not show yet, until canceled.

        Raises:
            LeaseLost, TransitionRefused, JobNotFound: the attempt no longer holds the job.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._write()
            except Unavailable:  # written later; the heartbeat renews the lease meanwhile
                extra = {"action": "missed", "job_id": self.job.id}
                _log.warning("progress not written", extra=extra)
            if self._next_write() is not None:
                self._news.set()
            await asyncio.sleep(self._interval().total_seconds())

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[Job]:
        """The newest row. The reporter makes no write during the block, which ends the attempt."""
        async with self._writing:
            yield self.job

    @property
    def is_watched(self) -> bool:
        """Whether the job has a subscriber, as far as the newest known row says."""
        return self.job.is_watched(self._clock())

    async def _write(self) -> None:
        async with self._writing:
            if (write := self._next_write()) is not None:
                self.received(await asyncio.to_thread(write))

    def _next_write(self) -> Callable[[], Job] | None:
        """The most urgent write; None if the row shows everything, or has nothing to show yet."""
        if not self._has_started:
            return None
        if self.job.status is Status.QUEUED:
            return partial(report_started, self.job, store=self._store, clock=self._clock)
        if self._progress is not self._written or self._previews > self.job.previewed:
            return partial(self._write_progress, self._progress, self._previews)
        if self.is_watched and len(self._files) > self.job.stored:
            files = self._files
            return partial(report_stored, self.job, files, store=self._store, clock=self._clock)
        return None

    def _write_progress(self, progress: Progress | None, previews: int) -> Job:
        job = report_progress(
            self.job,
            progress or self.job.progress,
            previewed=previews,
            store=self._store,
            clock=self._clock,
        )
        self._written = progress
        return job

    def _interval(self) -> timedelta:
        # Only the answer of a write shows that the job is watched now. So the first progress of a
        # job that was posted just now is written soon.
        is_urgent = self.is_watched or (self._written is None and self._is_new)
        return WATCHED_INTERVAL if is_urgent else self._unwatched

    @property
    def _is_new(self) -> bool:
        return (self.job.started_at or self._clock()) - self.job.queued_at < TIME_TO_SUBSCRIBE
