"""Tell the row how the attempt goes: the start at once, progress and files coalesced.

Every answer of a write is the row as it is now, so a cancel is heard with no read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from comfyline.service.clock import Clock
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Artifact, Job, Status
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.report import report_progress, report_started, report_stored
from comfyline.service.jobs.store import JobStore

WATCHED_INTERVAL = timedelta(milliseconds=500)  # what an eye follows
UNWATCHED_INTERVAL = timedelta(seconds=5)  # each write is paid for, and nobody looks

_log = logging.getLogger(__name__)


class Reporter:
    """The one writer of an attempt's row while it runs; `job` is the row as last heard."""

    def __init__(
        self, job: Job, store: JobStore, clock: Clock, *, answered: Callable[[Job], None]
    ) -> None:
        self.job = job
        self._store, self._clock, self._answered = store, clock, answered
        self._started = False
        self._progress: Progress | None = None  # the latest
        self._written: Progress | None = None
        self._previewed = 0
        self._files: Sequence[Artifact] = ()  # stored while others are on their way
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()

    def started(self) -> None:
        """The engine has begun."""
        self._started = True
        self._news.set()

    def progressed(self, progress: Progress) -> None:
        """The attempt is this far; what was not written by now never is."""
        self._progress = progress
        self._news.set()

    def previewed(self, count: int) -> None:
        """So many previews were stored so far, each over the last."""
        self._previewed = count
        self._news.set()

    def stored(self, files: Sequence[Artifact]) -> None:
        """These files are stored and others are to come; told only while somebody watches.

        The terminal write lists them all, so a client that reads has no need of it.
        """
        self._files = files
        self._news.set()

    def heard(self, job: Job) -> None:
        """An answer of the row, from whichever write."""
        if job.version >= self.job.version:
            self.job = job
        self._answered(job)

    async def write_for_ever(self) -> None:
        """Write what there is to tell, until cancelled.

        Raises:
            LeaseLost, TransitionRefused: the attempt no longer holds the job.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                async with self._writing:
                    await self._write()
            except Unavailable:  # it is tried again, and the lease has its own heart
                _log.warning("report missed", extra={"action": "missed", "job_id": self.job.id})
            if self._is_anything_untold:
                self._news.set()
            await asyncio.sleep(self._interval().total_seconds())

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[Job]:
        """The row, with no write of ours under way or to come while the block ends the attempt."""
        async with self._writing:
            yield self.job

    async def _write(self) -> None:
        if self._is_start_untold:
            self.heard(await asyncio.to_thread(self._report_started))
        elif self._is_progress_untold or self._is_preview_untold:
            progress = self._progress
            self.heard(await asyncio.to_thread(self._report_progress, progress, self._previewed))
            self._written = progress
        elif self._are_files_untold:
            self.heard(await asyncio.to_thread(self._report_stored, self._files))

    @property
    def _is_anything_untold(self) -> bool:
        return (
            self._is_start_untold
            or self._is_progress_untold
            or self._is_preview_untold
            or self._are_files_untold
        )

    @property
    def _is_start_untold(self) -> bool:
        return self._started and self.job.status is Status.QUEUED

    @property
    def _is_progress_untold(self) -> bool:
        return self._started and self._progress is not self._written

    @property
    def _is_preview_untold(self) -> bool:
        return self.job.status is Status.RUNNING and self._previewed > self.job.previewed

    @property
    def _are_files_untold(self) -> bool:
        is_running = self.job.status is Status.RUNNING
        return is_running and self.is_watched and len(self._files) > self.job.stored

    def _report_started(self) -> Job:
        return report_started(self.job, store=self._store, clock=self._clock)

    def _report_progress(self, progress: Progress | None, previewed: int) -> Job:
        return report_progress(
            self.job,
            progress or self.job.progress,
            previewed=previewed,
            store=self._store,
            clock=self._clock,
        )

    def _report_stored(self, files: Sequence[Artifact]) -> Job:
        return report_stored(self.job, files, store=self._store, clock=self._clock)

    @property
    def is_watched(self) -> bool:
        """Somebody follows the job live, by what was last heard of the row."""
        return self.job.watched_until is not None and self.job.watched_until > self._clock()

    def _interval(self) -> timedelta:
        # An idle worker starts a job before its submitter's socket is open: the first progress
        # comes soon, since only the answer of a write tells that somebody watches by now.
        hurry = self.is_watched or self._written is None
        return WATCHED_INTERVAL if hurry else UNWATCHED_INTERVAL
