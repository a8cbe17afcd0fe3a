"""Store previews of a running job: the newest replaces the one before, while the job is watched.

A preview that comes too soon, or while the job has no subscriber, is dropped, because a newer one
follows. Previews must not cost the job anything: one that cannot be stored is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from io import BytesIO

from comfyline.service.errors import Unavailable
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.artifact_keys import preview_key
from comfyline.service.jobs.job import Job
from gpu_worker.comfy.protocol import PromptPreviewed

INTERVAL = timedelta(seconds=2)  # between two previews, because each is a billed S3 request
SETTLE_SECONDS = 1.0  # the end of an attempt waits at most this long for an upload under way

_log = logging.getLogger(__name__)


class Previews:
    """The previews of one attempt."""

    def __init__(
        self,
        job: Job,
        artifacts: ArtifactStore,
        *,
        is_watched: Callable[[], bool],
        stored: Callable[[int], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`stored` is called after each upload, with the number of previews stored so far."""
        self._key, self._job_id, self._artifacts = preview_key(job), job.id, artifacts
        self._is_watched, self._stored, self._sleep = is_watched, stored, sleep
        self._newest: PromptPreviewed | None = None  # None while there is nothing to upload
        self._news = asyncio.Event()  # set with a new `_newest`
        self._ended = False  # no further preview is accepted
        self._upload: asyncio.Future[None] | None = None  # the last one; it may be under way

    def offer(self, preview: PromptPreviewed) -> None:
        """Take this as the newest preview."""
        if self._is_watched() and not self._ended:
            self._newest = preview
            self._news.set()

    async def store_for_ever(self) -> None:
        """Store the newest preview, again and again, until canceled.

        An upload that is under way at that moment is still completed.
        """
        count = 0
        while True:
            await self._news.wait()
            self._news.clear()
            if await self._store():
                count += 1
                self._stored(count)
            await self._sleep(INTERVAL.total_seconds())

    async def end(self) -> None:
        """Accept no more previews, and wait a moment for an upload under way.

        Call it before the job ends: a preview that is stored after its job was purged would belong
        to no job.
        """
        self._ended, self._newest = True, None
        if self._upload is not None:
            await asyncio.wait({self._upload}, timeout=SETTLE_SECONDS)

    async def _store(self) -> bool:
        preview, self._newest = self._newest, None
        if preview is None:
            return False
        body = BytesIO(preview.picture)
        self._upload = asyncio.get_running_loop().run_in_executor(
            None, self._artifacts.put, self._key, body, preview.content_type
        )
        try:
            await asyncio.shield(self._upload)
        except Unavailable:
            _log.info("preview not stored", extra={"action": "missed", "job_id": self._job_id})
            return False
        return True
