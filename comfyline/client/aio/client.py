"""The asyncio client: `AsyncComfyline` speaks to a service, `AsyncJob` is one of its jobs."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, Unpack

import httpx

from comfyline.client import settings
from comfyline.client.aio.api import AsyncApi
from comfyline.client.aio.downloads import AsyncDownloads
from comfyline.client.aio.following import AsyncFollowing
from comfyline.client.aio.uploads import upload
from comfyline.client.errors import ending_error
from comfyline.client.options import SubmitOptions, job_path, submission
from comfyline.client.pace import Pace
from comfyline.client.primitives import AsyncSleep, pause_async
from comfyline.client.retries import Retries
from comfyline.contract.v1 import common, responses
from comfyline.contract.v1.results import ArtifactPage
from comfyline.contract.v1.socket import JobMessage

CONNECT_SECONDS = 10.0


class AsyncComfyline:
    """A client of one Comfyline service; an asynchronous context manager.

    Any number of calls may run at once in one event loop. Arguments that are not given are read
    from the environment variables COMFYLINE_URL, COMFYLINE_API_KEY and COMFYLINE_WS_URL when the
    client is made. Without a WebSocket URL the client polls the jobs that it follows.

    Args:
        timeout: seconds for one try of one call; a call may have several tries.
        transport: replaces the network in tests, as `sleep` replaces waiting.

    Raises:
        NotConfigured: the URL or the key is missing, or one of the three is unusable.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        ws_url: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
        pace: Pace | None = None,
        sleep: AsyncSleep | None = None,
    ) -> None:
        base = settings.required_url(url) + common.API_PREFIX
        key = settings.required_key(api_key)
        self._ws_url = settings.optional_ws_url(ws_url)
        self._pace = pace or Pace()
        limits = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        # The key is no default header, because this HTTP client also sends to the file store.
        self._http = httpx.AsyncClient(transport=transport, timeout=limits)
        self._api = AsyncApi(self._http, base, key, retries or Retries(), sleep or pause_async)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Jobs continue."""
        await self._http.aclose()

    async def submit(
        self,
        prompt: str | None = None,
        *,
        workflow: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> AsyncJob:
        """Submit a job. It is made once, however often the call has to be repeated.

        `files` are uploaded first and put into the workflow: {"10.image": Path("photo.png")}. With
        an `idempotency_key` of your own, the call can also be repeated from another process: the
        same key and the same request always give the same job. Options that are None are left out.

        Raises:
            TypeError: `prompt` and `workflow` are both given, or both missing.
            ValueError: the workflow cannot be written as JSON.
            UploadFailed: the file store refused a file.
            ApiError, TransportFailed, UnexpectedAnswer: see errors.py.
        """
        body = submission(prompt, workflow, options)
        for place, file in (files or {}).items():
            body["inputs"] = {**body.get("inputs", {}), place: await upload(self._api, file)}
        headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(24)}
        accepted = await self._api.call(
            responses.JobAccepted, "POST", "/jobs", headers=headers, body=body
        )
        return AsyncJob(self, accepted.job_id, accepted=accepted)

    async def run(
        self,
        prompt: str | None = None,
        *,
        workflow: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
        idempotency_key: str | None = None,
        run_timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> AsyncJob:
        """Submit a job and wait until it has succeeded; the returned job's `view` has the result.

        Raises:
            JobNotSucceeded: the job failed, was canceled or expired.
            WaitTimedOut: the job has not ended within `run_timeout` seconds; it continues.
            others: as `submit`.
        """
        job = await self.submit(
            prompt, workflow=workflow, files=files, idempotency_key=idempotency_key, **options
        )
        if error := ending_error(await job.wait(run_timeout)):
            raise error
        return job

    async def get(self, job_id: str) -> responses.JobView:
        """The current job, with freshly signed URLs of its files."""
        return await self._api.job(job_id)

    async def list(
        self,
        status: common.Status | None = None,
        limit: int = 20,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncIterator[responses.JobPage]:
        """Your jobs, newest first, in pages of `limit` (1 to 100) that are read when needed.

        `metadata`: only jobs that have all of these pairs. A page may then be empty although later
        pages are not, because each searches 1,000 jobs.
        """
        params: dict[str, str | int] = {"limit": limit} | ({"status": status} if status else {})
        params |= {f"metadata[{name}]": value for name, value in (metadata or {}).items()}
        while True:
            page = await self._api.call(responses.JobPage, "GET", "/jobs", params=params)
            yield page
            if page.next_cursor is None:
                return
            params = {**params, "cursor": page.next_cursor}

    async def artifacts(self, job_id: str) -> AsyncIterator[ArtifactPage]:
        """The files of an ended job, in the job's order, in pages that are read when needed.

        A job that has not ended has no files yet: its only page is empty.

        Raises:
            ValueError: `job_id` is not a job id.
        """
        page = await self._api.artifacts(job_id)
        yield page
        while page.next_cursor is not None:
            page = await self._api.artifacts(job_id, page.next_cursor)
            yield page

    async def cancel(self, job_id: str) -> responses.CancelAnswer:
        """Cancel the job; the answer says what happened. An ended job does not change."""
        return await self._api.call(responses.CancelAnswer, "DELETE", job_path(job_id))

    async def purge(self, job_id: str) -> responses.CancelAnswer:
        """Remove an ended job and all its files for good; a job that has not ended is canceled."""
        return await self._api.call(
            responses.CancelAnswer, "DELETE", job_path(job_id), params={"purge": "true"}
        )

    async def retry(self, job_id: str, *, idempotency_key: str | None = None) -> AsyncJob:
        """Submit a new job with the input of one that failed, was canceled or expired.

        Raises:
            Conflict: the job has not ended, or it succeeded.
        """
        # Without a key the service derives one from the job and its state.
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        path = f"{job_path(job_id)}/retry"
        accepted = await self._api.call(responses.JobAccepted, "POST", path, headers=headers)
        return AsyncJob(self, accepted.job_id, accepted=accepted)

    async def models(self) -> responses.Models:
        """What jobs can use: checkpoints, samplers, schedulers, node classes."""
        return await self._api.call(responses.Models, "GET", "/models")

    async def usage(self) -> responses.UsageView:
        """What your jobs have used so far."""
        return await self._api.call(responses.UsageView, "GET", "/usage")

    def job(self, job_id: str) -> AsyncJob:
        """A handle of the job with this id; nothing is sent yet.

        Raises:
            ValueError: `job_id` is not a job id.
        """
        job_path(job_id)
        return AsyncJob(self, job_id)

    def events(
        self, job_ids: Iterable[str], timeout: float | None = None
    ) -> AsyncIterator[JobMessage]:
        """The messages of several jobs over one socket, until all jobs have ended.

        See `AsyncJob.events`.

        Raises:
            ValueError: one of `job_ids` is not a job id.
        """
        return AsyncFollowing(self._api, self._ws_url, self._pace, job_ids, timeout).messages()


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
        self._client = client

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"

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
        return await AsyncDownloads(self._client._api, self.id).save(Path(directory))
