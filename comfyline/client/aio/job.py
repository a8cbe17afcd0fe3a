"""The asyncio client: `AsyncJob` is one of its jobs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from comfyline.client.aio.downloads import AsyncDownloads
from comfyline.client.notebook import as_html
from comfyline.client.pictures import Picture, Wanted, WantedPictures
from comfyline.contract.v1 import responses
from comfyline.contract.v1.results import ArtifactPage
from comfyline.contract.v1.socket import JobMessage

if TYPE_CHECKING:
    from comfyline.client.aio.client import AsyncComfyline


class AsyncJob:
    """One job: its id, and what can be done with it.

    `accepted` is set after a submission, `view` after `run`, `refresh` and `wait`.
    """

    def __init__(
        self, client: AsyncComfyline, job_id: str, *, accepted: responses.JobAccepted | None = None
    ) -> None:
        self.id = job_id
        self.accepted = accepted
        self.view: responses.JobView | None = None
        self._pictures: list[Picture] = []
        self._client = client

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        """How a notebook shows the job: its last known state, without asking the service."""
        return {"text/plain": repr(self), "text/html": as_html(self.id, self.view, self._pictures)}

    async def refresh(self) -> responses.JobView:
        """The job as it is now."""
        self.view = await self._client.get(self.id)
        return self.view

    def artifacts(self) -> AsyncIterator[ArtifactPage]:
        """The files of the ended job, in pages; see `AsyncComfyline.artifacts`."""
        return self._client.artifacts(self.id)

    async def cancel(self) -> responses.CancelAnswer:
        """Cancel the job; see `AsyncComfyline.cancel`."""
        return await self._client.cancel(self.id)

    async def purge(self) -> responses.CancelAnswer:
        """Remove the job and its files; see `AsyncComfyline.purge`."""
        return await self._client.purge(self.id)

    async def retry(self, *, idempotency_key: str | None = None) -> AsyncJob:
        """Submit a new job with the same input; see `AsyncComfyline.retry`."""
        return await self._client.retry(self.id, idempotency_key=idempotency_key)

    def events(self, timeout: float | None = None) -> AsyncIterator[JobMessage]:
        """The job's messages from now on: each once, in order, the last one is `done`.

        A job that has ended yields its last state, its files and `done`. `timeout` is in seconds.

        Raises:
            WaitTimedOut: the job has not ended within `timeout` seconds; it continues.
            SubscriptionRefused: the service refuses to let this client follow the job.
        """
        return self._client.events([self.id], timeout)

    async def wait(self, timeout: float | None = None) -> responses.JobView:
        """Wait until the job has ended, successfully or not; check the view's `status`.

        Raises:
            WaitTimedOut: the job has not ended within `timeout` seconds; it continues.
        """
        async for _ in self.events(timeout):
            pass
        return await self.refresh()

    async def download(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Save the job's files in `directory`, which is made if missing; returns their paths.

        The paths are in the job's order. Several files are fetched at once. The received part of a
        file is kept, and the next call continues from there. A file gets its name only after it is
        complete and matches the job's SHA-256. A file that already exists with the same content is
        kept. A file with other content is never overwritten: the new file's name gets a number.
        Names never lead out of the directory. Only one process at a time may save the same files in
        the same directory.

        Raises:
            DownloadFailed: the job has not succeeded, or a file did not arrive as promised.
        """
        # AsyncComfyline and AsyncJob are one unit and share private attributes.
        saved = await AsyncDownloads(self._client._api, self.id).save(Path(directory), Wanted())
        return [path for _, path in saved]

    async def images(
        self, *, most: int | None = None, max_bytes: int | None = None
    ) -> list[Picture]:
        """The pictures of the job, in its order, checked against the job's SHA-256.

        They are kept in memory: limit their number by `most`, and the size of each by `max_bytes`.
        A larger one is left out. From then on a notebook shows them in place of the job.

        Raises:
            DownloadFailed: the job has not succeeded, or a file did not arrive as promised.
        """
        wanted = WantedPictures(most, max_bytes)
        with TemporaryDirectory() as folder:
            saved = await AsyncDownloads(self._client._api, self.id).save(Path(folder), wanted)
            self._pictures = [
                Picture(artifact.name, artifact.content_type, path.read_bytes())
                for artifact, path in saved
            ]
        return list(self._pictures)
