"""Thumbnails of the pictures of ended jobs: made beside the next job, after the terminal write.

    attempt:      terminal write ── open the pictures ── clean up ── ended
    thumbnails:                           └── make ── put ── make ── put ... ── note the numbers

The files stay open when the attempt removes them, so it waits for no thumbnail. All of it is best
effort: a picture without a thumbnail is shown itself. A worker that stops drops what is left.
"""

from __future__ import annotations

import asyncio
import io
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from comfyline.service.errors import Unavailable
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.artifact_keys import number_made, thumbnail_key
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.result import Artifact
from comfyline.service.jobs.store import JobStore
from gpu_worker.made import Made
from gpu_worker.thumbnail_process import ThumbnailProcess
from gpu_worker.workspace import HeldFile

MAX_PICTURES = 100  # of a job
MAX_WAITING = 2  # jobs; those beyond have no thumbnails, because each holds files open

_LONGEST_MAGIC = 12

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of an ended job, open, with the numbers of their artifacts."""

    job: Job
    files: Sequence[tuple[int, IO[bytes]]]

    @classmethod
    def opened(cls, job: Job, made: Sequence[Made], artifacts: Sequence[Artifact]) -> Pictures:
        """The first MAX_PICTURES that can be opened. It reads the disk."""
        files: list[tuple[int, IO[bytes]]] = []
        for number, artifact in enumerate(artifacts):
            if len(files) < MAX_PICTURES and (file := _opened(made[number_made(artifact)])):
                files.append((number, file))
        return cls(job, files)

    def close(self) -> None:
        """Close all files."""
        for _, file in self.files:
            file.close()


class Thumbnails:
    """Makes thumbnails, of one picture after the other."""

    def __init__(
        self, store: JobStore, artifacts: ArtifactStore, process: ThumbnailProcess | None = None
    ) -> None:
        self._store, self._artifacts = store, artifacts
        self._process = process or ThumbnailProcess()
        self._waiting: asyncio.Queue[Pictures] = asyncio.Queue(MAX_WAITING)

    def offer(self, pictures: Pictures) -> None:
        """Make thumbnails of these pictures later, or close them if too many wait."""
        try:
            self._waiting.put_nowait(pictures)
        except asyncio.QueueFull:
            extra = {"action": "thumbnails_left_out", "job_id": pictures.job.id}
            _log.warning("too many pictures wait for thumbnails", extra=extra)
            pictures.close()

    async def make_for_ever(self) -> None:
        """Make the thumbnails of what is offered, until this is canceled."""
        try:
            while True:
                await self._make_all(await self._waiting.get())
        finally:
            while not self._waiting.empty():
                self._waiting.get_nowait().close()
            await self._process.end()

    async def _make_all(self, pictures: Pictures) -> None:
        job = pictures.job
        try:
            made: list[int] = []
            for number, file in pictures.files:
                thumbnail = await self._process.thumbnail(file)
                if thumbnail is None:
                    continue
                if not await asyncio.to_thread(self._put, job, number, thumbnail):
                    return
                made.append(number)
                if len(made) == 1:  # lists need no more
                    await asyncio.to_thread(self._store.put_thumbnails, job, tuple(made))
            if len(made) > 1:
                await asyncio.to_thread(self._store.put_thumbnails, job, tuple(made))
        except Exception as error:  # noqa: BLE001 - they are not worth more than a line
            extra = {"action": "thumbnails_failed", "job_id": job.id}
            is_bug = not isinstance(error, Unavailable)
            _log.warning("no thumbnails", exc_info=is_bug, extra=extra)
        finally:
            pictures.close()

    def _put(self, job: Job, number: int, thumbnail: bytes) -> bool:
        """Store a thumbnail; False if the job was removed, whose files would be left behind."""
        current = self._store.get(job.id)
        if current is None or current.attempt_path != job.attempt_path:
            return False
        self._artifacts.put(thumbnail_key(job, number), io.BytesIO(thumbnail), "image/webp")
        return True


def _opened(made: Made) -> IO[bytes] | None:
    """The open file, at its beginning, if it looks like a picture that gets a thumbnail."""
    try:
        body = made.open()
    except OSError:
        return None
    try:
        if not _is_picture(body.read(_LONGEST_MAGIC)):
            body.close()
            return None
        body.seek(0)
        # A child can read only a file.
        return body if isinstance(made.content, HeldFile) else _copied(body)
    except OSError:
        body.close()
        return None


def _copied(body: IO[bytes]) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(body.read())
    file.seek(0)
    return file


def _is_picture(start: bytes) -> bool:
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return is_webp or start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
