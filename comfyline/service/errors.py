"""Everything that can go wrong, and whose fault it is.

ComfylineError
├── RequestRefused                 the caller's fault; the answer says what to change
│   ├── MalformedRequest           400  not JSON, a bad header
│   ├── InvalidRequest             422  the JSON does not say a job
│   ├── IdempotencyKeyReused       422  the key already names another request
│   ├── RequestTooLarge            413
│   ├── Forbidden                  403  the key lacks the scope
│   ├── JobNotFound                404  unknown, or another owner's
│   ├── RouteNotFound              404
│   ├── MethodNotAllowed           405
│   ├── TooManySubscriptions       429  of one socket
│   ├── JobNotRetryable            409  it has not ended, or it succeeded
│   ├── TooManyJobs                429  the owner's cap of jobs that have not ended
│   └── TooManyRequests            429  the owner's rate
├── Unavailable                    503  ours, for now; the same call may work later
│   ├── JobsDisabled               503  an operator has paused the service
│   └── SocketsDisabled            503  an operator has switched live progress off
├── TransitionRefused              the lifecycle has no such change
│   └── LeaseLost                  the attempt that speaks is not the one that holds the job
├── Conflict                       somebody changed the row first; carries the row as it is now
└── ConnectionGone                 the client behind a socket has left
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from comfyline.service.jobs.job import Job


MAX_FIELD_ERRORS = 50  # told of one request; whoever has more will ask again


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is wrong: where it is, and what about it."""

    loc: tuple[str | int, ...]
    msg: str


class ComfylineError(Exception):
    """Base of all; `code` is stable, `status` hints at the HTTP status, `title` never varies."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False


class RequestRefused(ComfylineError):
    """The caller must change the request; of `errors`, the first ones are kept."""

    def __init__(self, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(islice(errors, MAX_FIELD_ERRORS))
        self.headers: dict[str, str] = {}


class MalformedRequest(RequestRefused):
    code = "malformed_request"
    status = 400
    title = "Malformed request"


class InvalidRequest(RequestRefused):
    code = "invalid_request"
    status = 422
    title = "Invalid request"


class IdempotencyKeyReused(RequestRefused):
    code = "idempotency_key_reused"
    status = 422
    title = "Idempotency key reused with another request"


class RequestTooLarge(RequestRefused):
    code = "request_too_large"
    status = 413
    title = "Request too large"


class Forbidden(RequestRefused):
    code = "forbidden"
    status = 403
    title = "Scope missing"


class JobNotFound(RequestRefused):
    code = "job_not_found"
    status = 404
    title = "Job not found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id}.")


class RouteNotFound(RequestRefused):
    code = "route_not_found"
    status = 404
    title = "No such path"


class MethodNotAllowed(RequestRefused):
    code = "method_not_allowed"
    status = 405
    title = "Method not allowed"

    def __init__(self, detail: str, allow: Sequence[str]) -> None:
        super().__init__(detail)
        self.headers = {"allow": ", ".join(allow)}


class TooManySubscriptions(RequestRefused):
    code = "too_many_subscriptions"
    status = 429
    title = "Too many subscriptions"

    def __init__(self, limit: int) -> None:
        super().__init__(f"A socket follows at most {limit} jobs; open another one.")


class JobNotRetryable(RequestRefused):
    code = "job_not_retryable"
    status = 409
    title = "Job cannot be retried"


class _TooMany(RequestRefused):
    status = 429
    retryable = True

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.headers = {"retry-after": str(retry_after_seconds)}


class TooManyJobs(_TooMany):
    code = "too_many_jobs"
    title = "Too many jobs that have not ended"


class TooManyRequests(_TooMany):
    code = "too_many_requests"
    title = "Too many requests"


class Unavailable(ComfylineError):
    """A part of the service is out of reach; nothing was accepted."""

    code = "unavailable"
    status = 503
    title = "Service unavailable"
    retryable = True


class JobsDisabled(Unavailable):
    """An operator has paused the service; nothing was accepted."""

    code = "jobs_disabled"
    title = "Jobs are disabled"


class SocketsDisabled(Unavailable):
    """An operator has switched live progress off; clients ask over HTTP."""

    code = "sockets_disabled"
    title = "Sockets are disabled"


class TransitionRefused(ComfylineError):
    """The lifecycle table or one of its guards forbids this change."""


class LeaseLost(TransitionRefused):
    """The attempt that speaks no longer holds the job: it must stop and write nothing more."""


class Conflict(ComfylineError):
    """The row was changed by somebody else first.

    `current` is the row as it is now (None: it does not exist), so that no read is needed to
    decide again.
    """

    def __init__(self, current: Job | None) -> None:
        super().__init__("the row has changed")
        self.current = current


class ConnectionGone(ComfylineError):
    """The client behind this socket has left."""
