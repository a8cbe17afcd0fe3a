"""Everything that can go wrong at a client, and who has to act.

ComfylineClientError
├── NotConfigured              the caller: a setting is missing or is no URL
├── ApiError                   the service answered, and refused
│   ├── InvalidRequest         400, 413, 422  change the request
│   ├── Unauthorized           401            there is no key
│   ├── Forbidden              403            the key is wrong, expired, disabled or lacks a scope
│   ├── NotFound               404            unknown, past its retention, or another owner's
│   ├── Conflict               409            the job's state does not allow it
│   ├── RateLimited            429            too much at once, still so after all retries
│   └── ServiceUnavailable     502, 503, 504  still so after all retries
├── SubscriptionRefused        the live socket refused to follow the job
├── TransportFailed            nobody answered, after all retries
├── UnexpectedAnswer           somebody answered who is not the service
├── WaitTimedOut               the job goes on; also a TimeoutError
├── JobNotSucceeded            `run` only: the job has ended, and not well; carries it as `job`
│   ├── JobFailed
│   ├── JobCanceled
│   └── JobExpired             it waited too long for its first start
├── UploadFailed               an input file did not reach the store
└── DownloadFailed             a file did not arrive as promised; it is not under its name
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from comfyline.contract.v1 import responses


class ComfylineClientError(Exception):
    """Base of all."""


class NotConfigured(ComfylineClientError):
    """A setting is missing or unusable; the message names it."""


class ApiError(ComfylineClientError):
    """The service, or the gateway before it, refused the call.

    `problem` is None where the answer was not the service's own (the gateway answers 401, 403, 413,
    429 and 503 by itself). `retry_after_seconds` is what the service asked for, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        problem: responses.Problem | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.problem = problem
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(ApiError):
    """The request must be changed; `problem.errors` says where."""


class Unauthorized(ApiError):
    """The request carried no API key."""


class Forbidden(ApiError):
    """The API key is wrong, expired, disabled, or lacks a scope."""


class NotFound(ApiError):
    """There is no such job for this key."""


class Conflict(ApiError):
    """The job's state does not allow it."""


class RateLimited(ApiError):
    """Over the key's rate or number of active jobs."""


class ServiceUnavailable(ApiError):
    """The service cannot answer for now."""


class SubscriptionRefused(ComfylineClientError):
    """The live socket refused to follow the job."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


class TransportFailed(ComfylineClientError):
    """No answer: no connection, or it broke, or it took too long."""


class UnexpectedAnswer(ComfylineClientError):
    """A success whose body is not the service's: a proxy's page, or a wrong URL."""


class WaitTimedOut(ComfylineClientError, TimeoutError):
    """The job had not ended in the time given; it goes on."""


class JobNotSucceeded(ComfylineClientError):
    """The job has ended without success; `job` is how it ended."""

    def __init__(self, job: responses.JobView) -> None:
        why = f": {job.error.message} ({job.error.type})" if job.error else ""
        super().__init__(f"job {job.job_id} {_ENDINGS.get(job.status, job.status)}{why}")
        self.job = job


class JobFailed(JobNotSucceeded):
    """Its own error, or one failure too many; `job.error` says which."""


class JobCanceled(JobNotSucceeded):
    """Somebody canceled it."""


class JobExpired(JobNotSucceeded):
    """It waited past its start deadline and never ran."""


_ENDINGS = {"failed": "failed", "canceled": "was canceled", "expired": "expired"}
_BY_ENDING: dict[str, type[JobNotSucceeded]] = {
    "failed": JobFailed,
    "canceled": JobCanceled,
    "expired": JobExpired,
}


def ending_error(job: responses.JobView) -> JobNotSucceeded | None:
    """Why an ended job is no success; None if it is one."""
    return None if job.status == "succeeded" else _BY_ENDING[job.status](job)


class UploadFailed(ComfylineClientError):
    """The file store did not take an input file."""


class DownloadFailed(ComfylineClientError):
    """A file could not be fetched, or was not what the service had promised."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


def api_error(response: httpx.Response) -> ApiError:
    """The error that a read response tells, whoever wrote its body."""
    problem = _problem(response)
    kind = _BY_STATUS.get(response.status_code, ApiError)
    return kind(
        f"{problem.title}: {problem.detail}" if problem else _gateway_message(response),
        status=response.status_code,
        problem=problem,
        request_id=(problem.request_id if problem else None) or _request_id(response),
        retry_after_seconds=retry_after_seconds(response),
    )


def retry_after_seconds(response: httpx.Response) -> float | None:
    """What `Retry-After` asks for (RFC 9110, 10.2.3: seconds, or a date); None if it says nothing.

    A date in the past is 0.
    """
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    # "-0000" in a date makes it naive: UTC without a statement about the sender's zone.
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _problem(response: httpx.Response) -> responses.Problem | None:
    try:
        return responses.Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def _gateway_message(response: httpx.Response) -> str:
    try:
        body = json.loads(response.content)
    except ValueError:
        body = None
    text = body.get("message") if isinstance(body, dict) else None
    return f"HTTP {response.status_code}: {text or response.reason_phrase or 'refused'}"


def _request_id(response: httpx.Response) -> str | None:
    # The second name is what API Gateway's HTTP APIs put on answers of their own.
    for name in ("x-request-id", "apigw-requestid"):
        if name in response.headers:
            return str(response.headers[name])
    return None
