"""A job in the making, as a picture: the newest is stored, over the last, while somebody watches.

What is offered too soon or while nobody looks is dropped, since a newer one follows. Nothing here
may cost the job anything: a preview that cannot be stored is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from io import BytesIO

from comfyline.service.errors import Unavailable
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.job import Job, preview_key
from gpu_worker.comfy.protocol import Previewed

INTERVAL = timedelta(seconds=2)  # between two; each is a request that is paid for
SETTLE_SECONDS = 1.0  # the end of an attempt waits so long for one that is on its way

_log = logging.getLogger(__name__)


class Previews:
    """Those of one attempt."""

    def __init__(
        self,
        job: Job,
        artifacts: ArtifactStore,
        *,
        is_watched: Callable[[], bool],
        stored: Callable[[int], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`stored` is told how many there were so far, each time that one can be fetched."""
        self._key, self._job_id, self._artifacts = preview_key(job), job.id, artifacts
        self._is_watched, self._stored, self._sleep = is_watched, stored, sleep
        self._newest: Previewed | None = None
        self._news = asyncio.Event()
        self._ended = False
        self._upload: asyncio.Future[None] | None = None

    def offer(self, preview: Previewed) -> None:
        """This is the newest."""
        if self._is_watched() and not self._ended:
            self._newest = preview
            self._news.set()

    async def store_for_ever(self) -> None:
        """Store what is offered, until cancelled; one that is on its way then still arrives."""
        count = 0
        while True:
            await self._news.wait()
            self._news.clear()
            if await self._store():
                count += 1
                self._stored(count)
            await self._sleep(INTERVAL.total_seconds())

    async def end(self) -> None:
        """Take no more, and wait for the one that is on its way, but not for ever.

        To be called before the job ends: a file that comes after its job was purged has no owner.
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
            _log.info("preview missed", extra={"action": "missed", "job_id": self._job_id})
            return False
        return True
