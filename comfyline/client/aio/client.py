"""The asyncio client: `AsyncComfyline` speaks to a service.

The file has more than 300 lines because each operation of the service is a method of the client.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, Unpack

import httpx

from comfyline.client import settings
from comfyline.client.aio.account import AsyncAccount
from comfyline.client.aio.admin import AsyncAdmin
from comfyline.client.aio.api import AsyncApi
from comfyline.client.aio.following import AsyncFollowing
from comfyline.client.aio.job import AsyncJob
from comfyline.client.aio.uploads import upload
from comfyline.client.errors import ending_error
from comfyline.client.notebook import shown
from comfyline.client.options import SubmitOptions, job_path, submission
from comfyline.client.pace import Pace
from comfyline.client.primitives import AsyncSleep, pause_async
from comfyline.client.retries import Retries
from comfyline.contract.v1 import common, responses
from comfyline.contract.v1.graphs import GraphView
from comfyline.contract.v1.history import EventList
from comfyline.contract.v1.results import ArtifactLink, ArtifactPage
from comfyline.contract.v1.socket import JobMessage

CONNECT_SECONDS = 10.0


class AsyncComfyline(AsyncAccount):
    """A client of one Comfyline service; an asynchronous context manager.

    Any number of calls may run at once in one event loop. Arguments that are not given are read
    from the environment variables COMFYLINE_URL, COMFYLINE_API_KEY and COMFYLINE_WS_URL when the
    client is made, or else from the profile that `comfyline login` has stored. Without a WebSocket
    URL the client polls the jobs that it follows.

    Args:
        profile: the profile to use instead of the environment variables.
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
        profile: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
        pace: Pace | None = None,
        sleep: AsyncSleep | None = None,
    ) -> None:
        at = settings.address(url, api_key, ws_url, profile)
        self._ws_url = at.ws_url
        self._pace = pace or Pace()
        limits = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        # The key is no default header, because this HTTP client also sends to the file store.
        self._http = httpx.AsyncClient(transport=transport, timeout=limits)
        base = at.url + common.API_PREFIX
        self._api = AsyncApi(
            self._http, base, at.api_key, retries or Retries(), sleep or pause_async
        )
        self.admin = AsyncAdmin(self._api)  # for keys with the scope `admin`

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

    async def upload(self, file: Path) -> str:
        """Store a file of at most 100 MB; returns `upload:<id>`, by which a workflow names it.

        Comfy's own clients find the file by its hash, and do not send it again.

        Raises:
            NotConfigured: `comfyline[upload]` is not installed, whose package computes this hash.
            UploadFailed: the file is empty or too large, or the file store refused it.
            ApiError, TransportFailed, UnexpectedAnswer: see errors.py.
        """
        return await upload(self._api, file, announced=True)

    async def run(
        self,
        prompt: str | None = None,
        *,
        workflow: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
        idempotency_key: str | None = None,
        run_timeout: float | None = None,
        progress: bool = False,
        **options: Unpack[SubmitOptions],
    ) -> AsyncJob:
        """Submit a job and wait until it has succeeded; the returned job's `view` has the result.

        With `progress`, a bar shows how far it is: in the cell of a notebook, else on stderr.

        Raises:
            JobNotSucceeded: the job failed, was canceled or expired.
            WaitTimedOut: the job has not ended within `run_timeout` seconds; it continues.
            others: as `submit`.
        """
        job = await self.submit(
            prompt, workflow=workflow, files=files, idempotency_key=idempotency_key, **options
        )
        if progress:
            with shown(job.id) as show:
                async for message in job.events(run_timeout):
                    show(message)
        view = await job.refresh() if progress else await job.wait(run_timeout)
        if error := ending_error(view):
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

    async def artifact_url(
        self, job_id: str, number: int, *, width: Literal[512] | None = None, inline: bool = False
    ) -> ArtifactLink:
        """A freshly signed URL of one file of the ended job.

        With `width`, that of the file's thumbnail, if it has one. With `inline`, a browser shows
        the file instead of saving it.

        Raises:
            NotFound: the job has no file of that number.
            ValueError: `job_id` is not a job id.
        """
        asked = {"w": width, "disposition": "inline" if inline else None}
        params = {name: value for name, value in asked.items() if value is not None}
        path = f"{job_path(job_id)}/artifacts/{number:d}"
        return await self._api.call(ArtifactLink, "GET", path, params=params)

    async def graph(self, job_id: str) -> GraphView:
        """The workflow that the job runs.

        Raises:
            ValueError: `job_id` is not a job id.
        """
        return await self._api.call(GraphView, "GET", f"{job_path(job_id)}/graph")

    async def history(self, job_id: str, after: int = 0) -> EventList:
        """The changes of the job's state after a version, oldest first.

        Raises:
            ValueError: `job_id` is not a job id.
        """
        return await self._api.history(job_id, after)

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

    async def socket_url(self) -> str:
        """The WebSocket's URL, without the pass that the service adds to it."""
        answer = await self._api.call(responses.SocketPassResponse, "POST", "/ws-tickets")
        return answer.url.partition("?")[0]

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
