"""The calls of the HTTP API, as flows.

Every call may be repeated: a GET and a DELETE by their nature, a POST by its Idempotency-Key, which
is made once per intent and sent with each try.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import mimetypes
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from comfyline.client.backoff import Backoff
from comfyline.client.errors import (
    TransportFailed,
    UnexpectedAnswer,
    UploadFailed,
    api_error,
)
from comfyline.client.flow import Call, Flow, Pause, Tell
from comfyline.contract.ids import JOB_ID_PATTERN
from comfyline.contract.v1 import common, responses

RETRIED_STATUS = frozenset({429, 502, 503, 504})

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When a call is tried again, and when the caller is told instead."""

    tries: int = 5
    backoff: Backoff = field(default_factory=Backoff)
    longest_wait_seconds: float = 60  # a longer Retry-After is for the caller to decide


class OutputChoice(TypedDict, total=False):
    """How still pictures are stored; `format` must be there."""

    format: common.PictureFormat
    quality: int


class SubmitOptions(TypedDict, total=False):
    """What `submit` takes besides the prompt or the workflow; the service judges the values.

    Those from `negative_prompt` to `batch_size` go with a prompt only, `inputs` with a workflow.
    """

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
    inputs: Mapping[str, str] | None
    priority: common.Priority | None
    start_deadline_seconds: int | None
    execution_timeout_seconds: int | None
    metadata: dict[str, str] | None
    reuse: bool | None
    output: OutputChoice | None
    previews: bool | None


@dataclass(frozen=True, slots=True)
class Calls:
    """Every call of the service at `base`; each method is a flow with the answer as its result.

    All raise ApiError, TransportFailed and UnexpectedAnswer; see errors.py.
    """

    base: str
    api_key: str
    retries: Retries

    def submit(
        self,
        prompt: str | None,
        workflow: Mapping[str, Any] | None,
        idempotency_key: str | None,
        options: SubmitOptions,
    ) -> Flow[responses.JobAccepted]:
        """See Comfyline.submit."""
        if (prompt is None) == (workflow is None):
            raise TypeError("submit takes either a prompt or a workflow")
        given = {"prompt": prompt, "workflow": workflow, **options}
        body = {name: value for name, value in given.items() if value is not None}
        return self._post(responses.JobAccepted, "/jobs", body, _key(idempotency_key))

    def get(self, job_id: str) -> Flow[responses.JobView]:
        """See Comfyline.get."""
        return self._call(responses.JobView, "GET", job_path(job_id))

    def pages(self, status: common.Status | None, limit: int) -> Flow[None]:
        """Tells page after page; see Comfyline.list."""
        params: dict[str, str | int] = {"limit": limit} | ({"status": status} if status else {})
        while True:
            page = yield from self._call(responses.JobPage, "GET", "/jobs", params=params)
            yield Tell(page)
            if page.next_cursor is None:
                return
            params = {**params, "cursor": page.next_cursor}

    def cancel(self, job_id: str) -> Flow[responses.CancelAnswer]:
        """See Comfyline.cancel."""
        return self._call(responses.CancelAnswer, "DELETE", job_path(job_id))

    def purge(self, job_id: str) -> Flow[responses.CancelAnswer]:
        """See Comfyline.purge."""
        return self._call(
            responses.CancelAnswer, "DELETE", job_path(job_id), params={"purge": "true"}
        )

    def retry(self, job_id: str, idempotency_key: str | None) -> Flow[responses.JobAccepted]:
        """See Comfyline.retry."""
        # Without a key of the caller's the service takes job and state for one.
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        path = f"{job_path(job_id)}/retry"
        return self._call(responses.JobAccepted, "POST", path, headers=headers)

    def history(self, job_id: str, after: int) -> Flow[responses.EventList]:
        """The changes of state after a version."""
        path = f"{job_path(job_id)}/events"
        return self._call(responses.EventList, "GET", path, params={"after": after})

    def models(self) -> Flow[responses.Models]:
        """See Comfyline.models."""
        return self._call(responses.Models, "GET", "/models")

    def usage(self) -> Flow[responses.UsageView]:
        """See Comfyline.usage."""
        return self._call(responses.UsageView, "GET", "/usage")

    def upload(self, file: Path) -> Flow[str]:
        """Store a file as an input; `upload:<id>`, as `inputs` take it."""
        content = file.read_bytes()
        asked = {
            "name": file.name,
            "content_type": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        form = yield from self._post(responses.UploadAccepted, "/uploads", asked, {})
        sent: dict[str, Any] = {
            "data": form.fields,
            "files": {"file": (file.name, content, asked["content_type"])},
        }
        response: httpx.Response = yield from self._tried("POST", form.url, **sent)
        if not response.is_success:  # without the URL, which its signature opens
            raise UploadFailed(f"{file.name}: HTTP {response.status_code} from the file store")
        return f"upload:{form.upload_id}"

    # --- one call, as often as it takes -----------------------------------------------------------

    def _post(
        self, answer: type[Answer], path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Flow[Answer]:
        # Not httpx's `json=`: that fails on the lone surrogates that a terminal may hand over.
        content = json.dumps(body, allow_nan=False)
        headers = {**headers, "Content-Type": "application/json"}
        return self._call(answer, "POST", path, headers=headers, content=content)

    def _call(
        self,
        answer: type[Answer],
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Flow[Answer]:
        own = {"Authorization": f"Bearer {self.api_key}", "Accept": "application/json"}
        url = self.base + path
        response = yield from self._tried(
            method, url, headers={**own, **(headers or {})}, **request
        )
        if not response.is_success:
            raise api_error(response)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise UnexpectedAnswer(
                f"{method} {url} answered {response.status_code} with a body that is "
                "not Comfyline's; is COMFYLINE_URL right?"
            ) from error

    def _tried(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, **request: Any
    ) -> Flow[httpx.Response]:
        """The last answer: a final one, or one that is worth no further wait."""
        for failures in itertools.count(1):
            final = failures >= self.retries.tries
            try:
                response: httpx.Response = yield Call(method, url, headers or {}, request)
                wait = self._wait_before_retry(response, failures)
                if final or wait is None:
                    return response
            except httpx.TransportError as error:
                if final:
                    why = str(error) or type(error).__name__
                    where = url.partition("?")[0]
                    raise TransportFailed(f"{method} {where}: {why}") from error
                wait = self.retries.backoff.seconds(failures)
            yield Pause(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    def _wait_before_retry(self, response: httpx.Response, failures: int) -> float | None:
        """Seconds until the next try; None: this answer is the one."""
        if response.status_code not in RETRIED_STATUS:
            return None
        asked = api_error(response).retry_after_seconds or 0.0
        if asked > self.retries.longest_wait_seconds:
            return None
        # Jitter comes on top: everybody else was told the same number.
        return asked + self.retries.backoff.seconds(failures)


def _key(given: str | None) -> dict[str, str]:
    return {"Idempotency-Key": given or secrets.token_urlsafe(24)}


def job_path(job_id: str) -> str:
    """Where the job is; also keeps a stray slash or query out of the path.

    Raises:
        ValueError: that is no job id.
    """
    if not re.fullmatch(JOB_ID_PATTERN, job_id):
        raise ValueError(f"{job_id!r} is not a job id: job_ and 26 characters")
    return f"/jobs/{job_id}"
