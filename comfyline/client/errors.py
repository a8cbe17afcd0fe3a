"""All errors of the client, and what to do about them.

ComfylineClientError
├── NotConfigured              a setting or a package is missing, or a setting is no URL: set it
├── ApiError                   the service answered, and refused the call
│   ├── InvalidRequest         400, 413, 422  change the request
│   ├── Unauthorized           401            the API key is missing, unknown, expired or disabled
│   ├── Forbidden              403            the API key lacks a scope
│   ├── NotFound               404            unknown, past its retention, or another owner's job
│   ├── Conflict               409            the job's state does not allow the call
│   ├── RateLimited            429            too many calls or active jobs, even after all retries
│   └── ServiceUnavailable     502, 503, 504  not available, even after all retries
├── SubscriptionRefused        the live socket refused to follow the job
├── TransportFailed            no response came, after all retries
├── UnexpectedAnswer           a response came, but not from Comfyline: check the URL
├── WaitTimedOut               the job has not ended yet and continues; also a TimeoutError
├── JobNotSucceeded            `run` only: the job ended without success; `job` is that job
│   ├── JobFailed
│   ├── JobCanceled
│   └── JobExpired             no worker started it before its start deadline
├── UploadFailed               an input file is empty or too large, or the file store refused it
└── DownloadFailed             a file did not arrive as promised; nothing was saved under its name
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from comfyline.contract.v1 import responses
from comfyline.contract.v1.problem import Problem


class ComfylineClientError(Exception):
    """Base of all errors of the client."""


class NotConfigured(ComfylineClientError):
    """A setting or a package is missing or unusable; the message says what to do."""


class PlainHttpWarning(UserWarning):
    """The API key is sent without encryption to another machine, because a URL has no TLS."""


class ApiError(ComfylineClientError):
    """The service, or the gateway in front of it, refused the call.

    `problem` is the service's problem document. It is None if the gateway answered, which sends
    some 401, 413, 429 and 503 by itself. `retry_after_seconds` is the value of `Retry-After`.
    The error's text names the wrong fields; `message` does not.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        problem: Problem | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(" ".join([message, "; ".join(_wrong_fields(problem))]).strip())
        self.message = message
        self.status = status
        self.problem = problem
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(ApiError):
    """The request is wrong; `problem.errors` names the fields."""


class Unauthorized(ApiError):
    """The request carried no valid API key: it is missing, unknown, expired or disabled."""


class Forbidden(ApiError):
    """The API key lacks the scope that the call needs."""


class NotFound(ApiError):
    """This key has no such job: unknown, past its retention, or another owner's."""


class Conflict(ApiError):
    """The job's state does not allow the call."""


class RateLimited(ApiError):
    """The key has made too many calls, or has too many active jobs."""


class ServiceUnavailable(ApiError):
    """The service is temporarily unavailable."""


class SubscriptionRefused(ComfylineClientError):
    """The live socket refused to follow the job."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


class TransportFailed(ComfylineClientError):
    """No response came: no connection, a broken one, or a timeout."""


class UnexpectedAnswer(ComfylineClientError):
    """A successful response with a foreign body, such as a proxy's page: the URL may be wrong."""


class WaitTimedOut(ComfylineClientError, TimeoutError):
    """The job has not ended within the given time; it continues."""


class JobNotSucceeded(ComfylineClientError):
    """The job has ended without success; `job` is the ended job."""

    def __init__(self, job: responses.JobView) -> None:
        how = "was canceled" if job.status == "canceled" else job.status
        why = f": {job.error.message} ({job.error.type})" if job.error else ""
        super().__init__(f"job {job.job_id} {how}{why}")
        self.job = job


class JobFailed(JobNotSucceeded):
    """The job failed by itself, or too many attempts failed; `job.error` says why."""


class JobCanceled(JobNotSucceeded):
    """The job was canceled."""


class JobExpired(JobNotSucceeded):
    """No worker started the job before its start deadline."""


_BY_ENDING: dict[str, type[JobNotSucceeded]] = {
    "failed": JobFailed,
    "canceled": JobCanceled,
    "expired": JobExpired,
}


def ending_error(job: responses.JobView) -> JobNotSucceeded | None:
    """The error for a job that ended without success; None for one that succeeded."""
    return None if job.status == "succeeded" else _BY_ENDING[job.status](job)


class UploadFailed(ComfylineClientError):
    """The file store refused an input file."""


class DownloadFailed(ComfylineClientError):
    """A file could not be fetched, or its content is not what the job promises."""


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
    """The error for a response from the service or the gateway."""
    problem = _problem(response)
    kind = _BY_STATUS.get(response.status_code, ApiError)
    gateway_id = response.headers.get("apigw-requestid")  # API Gateway's HTTP APIs add it
    return kind(
        f"{problem.title}: {problem.detail}" if problem else _gateway_message(response),
        status=response.status_code,
        problem=problem,
        request_id=(problem and problem.request_id)
        or response.headers.get("x-request-id", gateway_id),
        retry_after_seconds=retry_after_seconds(response),
    )


def _wrong_fields(problem: Problem | None) -> Iterator[str]:
    for field in (problem.errors if problem else None) or ():
        place = ".".join(map(str, field.loc))
        # If there is one wrong field, the service also gives its message as the detail.
        yield f"({place})" if problem and field.msg == problem.detail else f"{place}: {field.msg}"


def retry_after_seconds(response: httpx.Response) -> float | None:
    """The response's `Retry-After` in seconds; None if it has none that can be read.

    The header holds seconds or a date (RFC 9110, 10.2.3). A date in the past gives 0.
    """
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    # Python reads the zone "-0000" as naive: it means UTC, from a sender in an unknown zone.
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _problem(response: httpx.Response) -> Problem | None:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def _gateway_message(response: httpx.Response) -> str:
    try:
        text = responses.GatewayMessage.model_validate_json(response.content).message
    except ValidationError:
        text = None
    return f"HTTP {response.status_code}: {text or response.reason_phrase or 'refused'}"
