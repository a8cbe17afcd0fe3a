"""The service as an object: `Comfyline` speaks to it, `Job` is one job of it.

Every call may be repeated: a GET and a DELETE by their nature, a POST by its Idempotency-Key, which
is made once per intent and sent with each try.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack

import httpx
from pydantic import BaseModel, ValidationError

from comfyline import wire
from comfyline.client import settings
from comfyline.client.backoff import Backoff
from comfyline.client.download import Downloads
from comfyline.client.errors import TransportFailed, UnexpectedAnswer, api_error
from comfyline.client.stream import Pace, follow
from comfyline.domain.ids import JOB_ID_PATTERN

RETRIED_STATUS = frozenset({429, 502, 503, 504})
CONNECT_SECONDS = 10.0

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When a call is tried again, and when the caller is told instead."""

    tries: int = 5
    backoff: Backoff = field(default_factory=Backoff)
    longest_wait_seconds: float = 60  # a longer Retry-After is for the caller to decide
    sleep: Callable[[float], None] = time.sleep


class SubmitOptions(TypedDict, total=False):
    """What `submit` takes besides the prompt or the workflow; the service judges the values.

    Those from `negative_prompt` to `batch_size` go with a prompt only, `inputs` with a workflow.
    """

    inputs: Mapping[str, str] | None
    reuse: bool | None

    negative_prompt: str | None
    width: int | None
    height: int | None
    steps: int | None
    cfg_scale: float | None
    sampler: str | None
    scheduler: str | None
    seed: int | None
    model: str | None
    batch_size: int | None
    priority: wire.Priority | None
    start_deadline_seconds: int | None
    execution_timeout_seconds: int | None
    metadata: dict[str, str] | None


class Comfyline:
    """A client of one Comfyline service, for one thread at a time; a context manager.

    Settings that are not given are read from COMFYLINE_URL, COMFYLINE_API_KEY and COMFYLINE_WS_URL
    now, not later. Without a WebSocket URL jobs are followed by asking again and again.

    Args:
        timeout: seconds for one try of one call; a call has several tries.
        transport: in the place of the network, for tests.

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
    ) -> None:
        self._base = settings.required_url(url) + wire.API_PREFIX
        self._api_key = settings.required_key(api_key)
        self._ws_url = settings.optional_ws_url(ws_url)
        self._retries = retries or Retries()
        self._pace = pace or Pace()
        limits = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        # Without the key as a default header: the same client fetches files from elsewhere.
        self._http = httpx.Client(transport=transport, timeout=limits)

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
        self._http.close()

    def submit(
        self,
        prompt: str | None = None,
        *,
        workflow: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Submit one job, once however often the call must be tried; its handle.

        Give your own `idempotency_key` to make the call safe to repeat across processes: the same
        key and the same request always name the same job. Options that are None are left out.

        Raises:
            TypeError: not exactly one of `prompt` and `workflow`.
            ValueError: the workflow cannot be written as JSON.
            ApiError, TransportFailed: see errors.py.
        """
        if (prompt is None) == (workflow is None):
            raise TypeError("submit takes either a prompt or a workflow")
        given = {"prompt": prompt, "workflow": workflow, **options}
        accepted = self._call(
            wire.JobAccepted,
            "POST",
            "/jobs",
            headers={
                "Idempotency-Key": idempotency_key or secrets.token_urlsafe(24),
                "Content-Type": "application/json",
            },
            # Not httpx's `json=`: that fails on the lone surrogates that a terminal may hand over.
            content=json.dumps(
                {name: value for name, value in given.items() if value is not None},
                allow_nan=False,
            ),
        )
        return Job(self, accepted.job_id, accepted=accepted)

    def get(self, job_id: str) -> wire.JobView:
        """The job as it is now, its files behind freshly signed URLs."""
        return self._call(wire.JobView, "GET", _job_path(job_id))

    def list(self, status: wire.Status | None = None, limit: int = 20) -> Iterator[wire.JobPage]:
        """The caller's jobs, newest first, page by page of `limit` (1 to 100), read as needed."""
        params: dict[str, str | int] = {"limit": limit} | ({"status": status} if status else {})
        while True:
            page = self._call(wire.JobPage, "GET", "/jobs", params=params)
            yield page
            if page.next_cursor is None:
                return
            params = {**params, "cursor": page.next_cursor}

    def cancel(self, job_id: str) -> wire.CancelAnswer:
        """Ask for the job's end; the answer says what became of it. A finished job stays."""
        return self._call(wire.CancelAnswer, "DELETE", _job_path(job_id))

    def job(self, job_id: str) -> Job:
        """The handle of a job known by its id; asks nothing yet.

        Raises:
            ValueError: that is no job id.
        """
        _job_path(job_id)
        return Job(self, job_id)

    # --- one call, as often as it takes ----------------------------------------------------------

    def _call(self, answer: type[Answer], method: str, path: str, **request: Any) -> Answer:
        response = self._answered(method, path, **request)
        if not response.is_success:
            raise api_error(response)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise UnexpectedAnswer(
                f"{method} {self._base}{path} answered {response.status_code} with a body that is "
                "not Comfyline's; is COMFYLINE_URL right?"
            ) from error

    def _answered(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The last answer: a final one, or one that is worth no further wait."""
        for failures in itertools.count(1):
            final = failures >= self._retries.tries
            try:
                response = self._sent(method, path, **request)
                wait = self._wait_before_retry(response, failures)
                if final or wait is None:
                    return response
            except httpx.TransportError as error:
                if final:
                    why = str(error) or type(error).__name__
                    raise TransportFailed(f"{method} {self._base}{path}: {why}") from error
                wait = self._retries.backoff.seconds(failures)
            self._retries.sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    def _sent(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **request: Any
    ) -> httpx.Response:
        own = {"Authorization": f"Bearer {self._api_key}", "Accept": "application/json"}
        return self._http.request(
            method, self._base + path, headers={**own, **(headers or {})}, **request
        )

    def _wait_before_retry(self, response: httpx.Response, failures: int) -> float | None:
        """Seconds until the next try; None: this answer is the one."""
        if response.status_code not in RETRIED_STATUS:
            return None
        asked = api_error(response).retry_after_seconds or 0.0
        if asked > self._retries.longest_wait_seconds:
            return None
        # Jitter comes on top: everybody else was told the same number.
        return asked + self._retries.backoff.seconds(failures)


class Job:
    """One job: its id and what can be done with it. `accepted` is set on a fresh submission."""

    def __init__(
        self, client: Comfyline, job_id: str, *, accepted: wire.JobAccepted | None = None
    ) -> None:
        self.id = job_id
        self.accepted = accepted
        self._client = client

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def refresh(self) -> wire.JobView:
        """The job as it is now."""
        return self._client.get(self.id)

    def cancel(self) -> wire.CancelAnswer:
        """Ask for its end; see `Comfyline.cancel`."""
        return self._client.cancel(self.id)

    def events(self, timeout: float | None = None) -> Iterator[wire.JobMessage]:
        """Its messages from now on, each once, in order, ending with `done`; see `stream.follow`.

        An ended job yields its last state, its files and `done`. `timeout` is in seconds.
        """
        client = self._client  # Job is its other half: what is private there is known here
        where = (client._ws_url, client._api_key, self.id)
        return follow(*where, poll=self.refresh, timeout=timeout, pace=client._pace)

    def wait(self, timeout: float | None = None) -> wire.JobView:
        """The job when it has ended, well or not: look at its `status`.

        Raises:
            WaitTimedOut: not ended within `timeout` seconds; it goes on.
        """
        for _ in self.events(timeout):
            pass
        return self.refresh()

    def download(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Save its files in `directory`, made if missing; their paths, in the job's order.

        Each file appears under its name complete and checked against the job's SHA-256, or not at
        all. A file that is already there with the same content is kept; one with other content is
        never overwritten, the new one gets a number. Names never lead out of the directory.

        Raises:
            DownloadFailed: the job has not succeeded, or a file did not arrive as promised.
        """
        retries = self._client._retries
        files = Downloads(self._client._http, self.refresh, retries.backoff, retries.sleep)
        return files.save(Path(directory))


def _job_path(job_id: str) -> str:
    """Where the job is; also keeps a stray slash or query out of the path."""
    if not re.fullmatch(JOB_ID_PATTERN, job_id):
        raise ValueError(f"{job_id!r} is not a job id: job_ and 26 characters")
    return f"/jobs/{job_id}"
