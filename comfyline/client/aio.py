"""The same client for asyncio: what `Comfyline` and `Job` promise holds here, awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from comfyline.client.calls import Retries, SubmitOptions, job_path
from comfyline.client.http import limits
from comfyline.client.service import Service
from comfyline.client.shells import AsyncShell
from comfyline.client.stream import Pace
from comfyline.contract.v1 import common, responses
from comfyline.contract.v1.socket import JobMessage


class AsyncComfyline:
    """A client of one Comfyline service for one event loop; an asynchronous context manager.

    See `Comfyline`; any number of its calls may be under way at once.
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
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._service = Service.configured(url, api_key, ws_url, retries, pace)
        self._shell = AsyncShell(transport, limits(timeout), sleep)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Jobs go on."""
        await self._shell.close()

    async def submit(
        self,
        prompt: str | None = None,
        *,
        workflow: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> AsyncJob:
        """See `Comfyline.submit`."""
        flow = self._service.submit(prompt, workflow, files, idempotency_key, options)
        accepted = await self._shell.run(flow)
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
        """See `Comfyline.run`."""
        job = await self.submit(
            prompt, workflow=workflow, files=files, idempotency_key=idempotency_key, **options
        )
        job.view = await self._shell.run(self._service.success(job.id, run_timeout))
        return job

    async def get(self, job_id: str) -> responses.JobView:
        """See `Comfyline.get`."""
        return await self._shell.run(self._service.calls.get(job_id))

    def list(
        self, status: common.Status | None = None, limit: int = 20
    ) -> AsyncIterator[responses.JobPage]:
        """See `Comfyline.list`."""
        return self._shell.told(self._service.calls.pages(status, limit))

    async def cancel(self, job_id: str) -> responses.CancelAnswer:
        """See `Comfyline.cancel`."""
        return await self._shell.run(self._service.calls.cancel(job_id))

    async def purge(self, job_id: str) -> responses.CancelAnswer:
        """See `Comfyline.purge`."""
        return await self._shell.run(self._service.calls.purge(job_id))

    async def retry(self, job_id: str, *, idempotency_key: str | None = None) -> AsyncJob:
        """See `Comfyline.retry`."""
        accepted = await self._shell.run(self._service.calls.retry(job_id, idempotency_key))
        return AsyncJob(self, accepted.job_id, accepted=accepted)

    async def models(self) -> responses.Models:
        """See `Comfyline.models`."""
        return await self._shell.run(self._service.calls.models())

    async def usage(self) -> responses.UsageView:
        """See `Comfyline.usage`."""
        return await self._shell.run(self._service.calls.usage())

    def job(self, job_id: str) -> AsyncJob:
        """See `Comfyline.job`."""
        job_path(job_id)
        return AsyncJob(self, job_id)

    def events(
        self, job_ids: Iterable[str], timeout: float | None = None
    ) -> AsyncIterator[JobMessage]:
        """See `Comfyline.events`."""
        return self._shell.told(self._service.events(list(job_ids), timeout))


class AsyncJob:
    """See `Job`."""

    def __init__(
        self, client: AsyncComfyline, job_id: str, *, accepted: responses.JobAccepted | None = None
    ) -> None:
        self.id = job_id
        self.accepted = accepted
        self.view: responses.JobView | None = None
        self._client, self._service, self._shell = client, client._service, client._shell

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"

    async def refresh(self) -> responses.JobView:
        """See `Job.refresh`."""
        self.view = await self._client.get(self.id)
        return self.view

    async def cancel(self) -> responses.CancelAnswer:
        """See `Job.cancel`."""
        return await self._client.cancel(self.id)

    async def purge(self) -> responses.CancelAnswer:
        """See `Job.purge`."""
        return await self._client.purge(self.id)

    async def retry(self, *, idempotency_key: str | None = None) -> AsyncJob:
        """See `Job.retry`."""
        return await self._client.retry(self.id, idempotency_key=idempotency_key)

    def events(self, timeout: float | None = None) -> AsyncIterator[JobMessage]:
        """See `Job.events`."""
        return self._client.events([self.id], timeout)

    async def wait(self, timeout: float | None = None) -> responses.JobView:
        """See `Job.wait`."""
        self.view = await self._shell.run(self._service.wait(self.id, timeout))
        return self.view

    async def download(self, directory: str | os.PathLike[str]) -> list[Path]:
        """See `Job.download`."""
        return await self._shell.run(self._service.download(self.id, Path(directory)))
