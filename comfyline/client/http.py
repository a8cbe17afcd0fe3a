"""The blocking client: `Comfyline` speaks to a service, `Job` is one job of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from comfyline.client.calls import Retries, SubmitOptions, job_path
from comfyline.client.service import Service
from comfyline.client.shells import Shell
from comfyline.client.stream import Pace
from comfyline.contract.v1 import common, responses
from comfyline.contract.v1.socket import JobMessage

CONNECT_SECONDS = 10.0


class Comfyline:
    """A client of one Comfyline service, for one thread at a time; a context manager.

    Settings that are not given are read from COMFYLINE_URL, COMFYLINE_API_KEY and COMFYLINE_WS_URL
    now, not later. Without a WebSocket URL jobs are followed by asking again and again.

    Args:
        timeout: seconds for one try of one call; a call has several tries.
        transport: in the place of the network, for tests; `sleep` in the place of waiting.

    Raises:
        NotConfigured: the URL or the key is missing, or one of them cannot be meant.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        ws_url: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
        pace: Pace | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._service = Service.configured(url, api_key, ws_url, retries, pace)
        self._shell = Shell(transport, limits(timeout), sleep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Jobs go on."""
        self._shell.close()

    def submit(
        self,
        prompt: str | None = None,
        *,
        workflow: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Submit one job, once however often the call must be tried; its handle.

        `files` are uploaded first and put into the workflow: {"10.image": Path("photo.png")}.
        Give your own `idempotency_key` to make the call safe to repeat across processes: the same
        key and the same request always name the same job. Options that are None are left out.

        Raises:
            TypeError: not exactly one of `prompt` and `workflow`.
            ValueError: the workflow cannot be written as JSON.
            ApiError, TransportFailed: see errors.py.
        """
        flow = self._service.submit(prompt, workflow, files, idempotency_key, options)
        accepted = self._shell.run(flow)
        return Job(self, accepted.job_id, accepted=accepted)

    def run(
        self,
        prompt: str | None = None,
        *,
        workflow: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
        idempotency_key: str | None = None,
        run_timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Submit a job and wait for its success; its handle, the result in its `view`.

        Raises:
            JobNotSucceeded: it has failed, was canceled or has expired.
            WaitTimedOut: not ended within `run_timeout` seconds; it goes on.
            others: as `submit`.
        """
        job = self.submit(
            prompt, workflow=workflow, files=files, idempotency_key=idempotency_key, **options
        )
        job.view = self._shell.run(self._service.success(job.id, run_timeout))
        return job

    def get(self, job_id: str) -> responses.JobView:
        """The job as it is now, its files behind freshly signed URLs."""
        return self._shell.run(self._service.calls.get(job_id))

    def list(
        self, status: common.Status | None = None, limit: int = 20
    ) -> Iterator[responses.JobPage]:
        """The caller's jobs, newest first, page by page of `limit` (1 to 100), read as needed."""
        return self._shell.told(self._service.calls.pages(status, limit))

    def cancel(self, job_id: str) -> responses.CancelAnswer:
        """Ask for the job's end; the answer says what became of it. A finished job stays."""
        return self._shell.run(self._service.calls.cancel(job_id))

    def purge(self, job_id: str) -> responses.CancelAnswer:
        """Remove an ended job and all it has stored, for good; one that goes on is canceled."""
        return self._shell.run(self._service.calls.purge(job_id))

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """A new job from the same input, for one that failed, was canceled or expired.

        Raises:
            Conflict: the job has not ended so.
        """
        accepted = self._shell.run(self._service.calls.retry(job_id, idempotency_key))
        return Job(self, accepted.job_id, accepted=accepted)

    def models(self) -> responses.Models:
        """What the deployment can run: checkpoints, samplers, schedulers, node classes."""
        return self._shell.run(self._service.calls.models())

    def usage(self) -> responses.UsageView:
        """What the caller's jobs have used so far."""
        return self._shell.run(self._service.calls.usage())

    def job(self, job_id: str) -> Job:
        """The handle of a job known by its id; asks nothing yet.

        Raises:
            ValueError: that is no job id.
        """
        job_path(job_id)
        return Job(self, job_id)

    def events(self, job_ids: Iterable[str], timeout: float | None = None) -> Iterator[JobMessage]:
        """The messages of several jobs over one socket, until all have ended; see `Job.events`."""
        return self._shell.told(self._service.events(list(job_ids), timeout))


class Job:
    """One job: its id and what can be done with it.

    `accepted` is set on a fresh submission, `view` after `run`, `refresh` and `wait`.
    """

    def __init__(
        self, client: Comfyline, job_id: str, *, accepted: responses.JobAccepted | None = None
    ) -> None:
        self.id = job_id
        self.accepted = accepted
        self.view: responses.JobView | None = None
        # Its other half: what is private there is known here.
        self._client, self._service, self._shell = client, client._service, client._shell

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def refresh(self) -> responses.JobView:
        """The job as it is now."""
        self.view = self._client.get(self.id)
        return self.view

    def cancel(self) -> responses.CancelAnswer:
        """Ask for its end; see `Comfyline.cancel`."""
        return self._client.cancel(self.id)

    def purge(self) -> responses.CancelAnswer:
        """Remove it and its files; see `Comfyline.purge`."""
        return self._client.purge(self.id)

    def retry(self, *, idempotency_key: str | None = None) -> Job:
        """A new job from its input; see `Comfyline.retry`."""
        return self._client.retry(self.id, idempotency_key=idempotency_key)

    def events(self, timeout: float | None = None) -> Iterator[JobMessage]:
        """Its messages from now on, each once, in order, ending with `done`.

        An ended job yields its last state, its files and `done`. `timeout` is in seconds.

        Raises:
            WaitTimedOut: not ended within `timeout` seconds; it goes on.
            SubscriptionRefused: the service refuses to follow the job.
        """
        return self._client.events([self.id], timeout)

    def wait(self, timeout: float | None = None) -> responses.JobView:
        """The job when it has ended, well or not: look at its `status`.

        Raises:
            WaitTimedOut: not ended within `timeout` seconds; it goes on.
        """
        self.view = self._shell.run(self._service.wait(self.id, timeout))
        return self.view

    def download(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Save its files in `directory`, made if missing; their paths, in the job's order.

        Several files are fetched at once, and what has arrived of one is kept: the next call goes
        on from there. Each file appears under its name complete and checked against the job's
        SHA-256, or not at all. A file that is already there with the same content is kept; one
        with other content is never overwritten, the new one gets a number. Names never lead out of
        the directory. One process at a time may save the same files in the same directory.

        Raises:
            DownloadFailed: the job has not succeeded, or a file did not arrive as promised.
        """
        return self._shell.run(self._service.download(self.id, Path(directory)))


def limits(timeout: float) -> httpx.Timeout:
    """How long one try of one call may take."""
    return httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
