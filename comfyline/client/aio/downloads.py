"""Fetches a job's files: streamed, continued where a transfer broke, and checked."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from comfyline.client.aio.api import AsyncApi
from comfyline.client.errors import DownloadFailed
from comfyline.client.files import (
    distinct,
    holds,
    is_saved,
    open_part,
    part_path,
    part_size,
    place_all,
    safe_name,
)
from comfyline.client.pictures import Wanted
from comfyline.client.primitives import AsyncGroup
from comfyline.contract.v1.results import ArtifactView

Saved = tuple[ArtifactView, Path]

TRIES = 5
AT_ONCE = 4  # enough to fill most links

# S3 answers 403 to a signature that is too old, and 400 (ExpiredToken) when the session of its
# signer has ended. A fresh URL helps with both.
_EXPIRED_URL = frozenset({400, 403})


class _TryFailed(Exception):
    """This try failed, and the next one may succeed; with a fresh URL if `expired_url`."""

    def __init__(self, message: str, *, expired_url: bool = False) -> None:
        super().__init__(message)
        self.expired_url = expired_url


@dataclass(frozen=True, slots=True)
class AsyncDownloads:
    """Saves the files of one job, once."""

    api: AsyncApi
    job_id: str

    async def save(self, directory: Path, wanted: Wanted) -> list[Saved]:
        """The wanted files, saved in the directory; see `AsyncJob.download`.

        Each page is saved before the next one is read, so that the signed URLs of thousands of
        files are still valid when their turn comes.
        """
        job = await self.api.job(self.job_id)
        if job.result is None:
            raise DownloadFailed(f"job {job.job_id} is {job.status}: it has no files to download")
        directory.mkdir(parents=True, exist_ok=True)
        first = AsyncPageDownload(self.api, self.job_id, None, directory)
        saved, cursor = await first.save(job.result.artifacts, wanted), job.result.next_cursor
        while cursor is not None and not wanted.is_complete:
            page = await self.api.artifacts(self.job_id, cursor)
            download = AsyncPageDownload(self.api, self.job_id, cursor, directory)
            saved += await download.save(page.artifacts, wanted)
            cursor = page.next_cursor
        return saved


@dataclass(frozen=True, slots=True)
class AsyncPageDownload:
    """Saves the files of one page, once; `cursor` is None for the first page."""

    api: AsyncApi
    job_id: str
    cursor: str | None
    directory: Path
    group: AsyncGroup = field(default_factory=AsyncGroup)

    async def save(self, artifacts: list[ArtifactView], wanted: Wanted) -> list[Saved]:
        """Save the files that are wanted, in order."""
        chosen = [n for n, artifact in enumerate(artifacts) if wanted.takes(artifact)]
        files = [artifacts[n] for n in chosen]
        fetches = [partial(self._fetch, chosen[n], files[n]) for n in distinct(files)]
        await self.group.run(fetches, AT_ONCE)
        return list(zip(files, place_all(files, self.directory), strict=True))

    async def _fetch(self, index: int, artifact: ArtifactView) -> None:
        """Download the artifact into a part file in the directory, unless it is saved there."""
        if is_saved(self.directory, artifact):
            return
        part = part_path(self.directory, artifact)
        for failures in itertools.count(1):
            try:
                await self._try(artifact, part)
                return
            except _TryFailed as error:
                if failures == TRIES:
                    raise DownloadFailed(f"{safe_name(artifact.name)}: {error}") from error
                await self.api.pause(self.api.retries.backoff.seconds(failures))
                if error.expired_url:
                    artifact = await self._with_fresh_url(index, artifact)

    async def _with_fresh_url(self, index: int, artifact: ArtifactView) -> ArtifactView:
        artifacts = await self._page()
        if index >= len(artifacts) or artifacts[index].sha256 != artifact.sha256:
            raise DownloadFailed(f"{safe_name(artifact.name)}: the job no longer has this file")
        return artifacts[index]

    async def _page(self) -> list[ArtifactView]:
        if self.cursor is not None:
            return (await self.api.artifacts(self.job_id, self.cursor)).artifacts
        job = await self.api.job(self.job_id)
        return job.result.artifacts if job.result else []

    async def _try(self, artifact: ArtifactView, part: Path) -> None:
        have = part_size(part)
        if have < artifact.bytes or not have:
            await self._transfer(artifact, part, have)
        if not part.exists() or part_size(part) < artifact.bytes:
            raise _TryFailed(f"not the {artifact.bytes} bytes that the job has")
        if not holds(part, artifact):
            part.unlink()  # the next try must not continue from wrong bytes
            raise _TryFailed("the content does not match the job's SHA-256")

    async def _transfer(self, artifact: ArtifactView, part: Path, have: int) -> None:
        # The SHA-256 is that of the stored bytes, so the store must not compress them.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            async with self.api.http.stream("GET", artifact.url, headers=headers) as response:
                await self._write(response, part, artifact.bytes, have)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            # The message leaves out the URL, because everyone with its signature can read it.
            raise _TryFailed(type(error).__name__) from error

    async def _write(self, response: httpx.Response, part: Path, limit: int, have: int) -> None:
        """Append the response to the part, up to `limit` bytes in all."""
        status = response.status_code
        if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise _TryFailed(f"HTTP {status}", expired_url=status in _EXPIRED_URL)
        size = have if status == httpx.codes.PARTIAL_CONTENT else 0
        with open_part(part, size) as file:
            async for chunk in response.aiter_raw():
                self.group.raise_if_stopped()
                size += len(chunk)
                if size > limit:
                    break  # a wrong response must not fill the disk
                file.write(chunk)
