"""Every error of the service, sorted by the side that has to act.

ComfylineError
├── RequestRefused                 the caller: the message says what to change in the request
│   ├── MalformedRequest
│   ├── InvalidRequest
│   │   ├── InvalidGraph           the workflow is wrong
│   │   │   ├── EditorExport
│   │   │   └── UploadMissing
│   │   ├── InvalidCursor
│   │   └── AssetNotFound, AssetInUse, BlobNotFound, HashMismatch
│   ├── IdempotencyKeyReused
│   ├── RequestTooLarge
│   ├── Unauthorized
│   ├── Forbidden
│   ├── JobNotFound
│   ├── ArtifactNotFound
│   ├── KeyNotFound
│   ├── RouteNotFound
│   ├── MethodNotAllowed
│   ├── TooManySubscriptions
│   ├── JobNotRetryable
│   ├── SwitchesChanged (access/keys.py)
│   ├── TooManyKeys
│   └── OverBudget
│       ├── TooManyJobs
│       └── TooManyRequests
├── Unavailable                    the operator: the same call may succeed later
│   ├── JobsDisabled
│   └── SocketsDisabled
├── TransitionRefused              the process that asked for the change
│   └── LeaseLost                  the worker: it must stop this attempt
├── Unreadable                     the operator: a stored item is damaged, or of another release
├── Conflict (jobs/store.py)       the use case: it decides again from the current row
└── ConnectionGone                 the use case: it removes the socket

If an error has no message, the caller sees the first paragraph of its class's docstring. The HTTP
status and the title of each code are part of the public contract: `comfyline.contract.problems`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from inspect import getdoc
from itertools import islice
from typing import ClassVar

# The remedy for a request that is too large because files are in it.
SEND_FILES = (
    "Send pictures and other files with POST /api/v1/uploads, and name them in `inputs` as "
    '"upload:<upload_id>", instead of putting them into the workflow as base64.'
)
MAX_FIELD_ERRORS = 50  # keeps the response small; the next request shows the errors that are left


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: its place in the request, and the reason why it is invalid."""

    loc: tuple[str | int, ...]
    msg: str


class ComfylineError(Exception):
    """The service has failed. The failure is logged under the id of this request."""

    code: ClassVar[str] = "internal_error"  # stable: clients and metrics use it

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.explanation())

    @classmethod
    def explanation(cls) -> str:
        """The first paragraph of the docstring, on one line; it holds nothing confidential."""
        paragraph, _, _ = (getdoc(cls) or "").partition("\n\n")
        return " ".join(paragraph.split())


class RequestRefused(ComfylineError):
    """The request must be changed before it is sent again.

    Only the first MAX_FIELD_ERRORS of `errors` are kept.
    """

    def __init__(self, detail: str = "", errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = str(self)
        self.errors = tuple(islice(errors, MAX_FIELD_ERRORS))
        self.headers: dict[str, str] = {}


class MalformedRequest(RequestRefused):
    """The body is not JSON, or a header has an invalid form."""

    code = "malformed_request"


class InvalidRequest(RequestRefused):
    """A field of the request is missing, unknown or has an invalid value."""

    code = "invalid_request"


class InvalidGraph(InvalidRequest):
    """The workflow cannot run as it is."""


class EditorExport(InvalidGraph):
    """The workflow has the format in which ComfyUI's editor saves it."""


class UploadMissing(InvalidGraph):
    """The workflow names a file that its owner has not uploaded, or that is removed already."""


class InvalidCursor(InvalidRequest):
    """The cursor was not made by this API."""


class IdempotencyKeyReused(RequestRefused):
    """This Idempotency-Key was sent before, with another request."""

    code = "idempotency_key_reused"

    def __init__(self, detail: str, job_id: str) -> None:
        super().__init__(detail)
        self.job_id = job_id  # the job that the key has made


class RequestTooLarge(RequestRefused):
    """The body, the images or the batch are larger than the service accepts."""

    code = "request_too_large"


class Unauthorized(RequestRefused):
    """The API key or token is unknown, has expired or is disabled."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__()
        self.headers = {"www-authenticate": "Bearer"}  # RFC 9110, section 15.5.2


class Forbidden(RequestRefused):
    """The key or the token must not do this."""

    code = "forbidden"


class JobNotFound(RequestRefused):
    """There is no such job, or it belongs to another owner or user."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id}.")


class ArtifactNotFound(RequestRefused):
    """The job has no file with this number."""

    code = "artifact_not_found"


class KeyNotFound(RequestRefused):
    """There is no such key, or it belongs to another owner."""

    code = "key_not_found"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no key {key_id:.100} that this is possible with.")


class TooManyKeys(RequestRefused):
    """The owner has made as many keys as it may."""

    code = "too_many_keys"


class AssetNotFound(InvalidRequest):
    """There is no such asset, or it belongs to another owner."""

    def __init__(self, asset_id: str) -> None:
        super().__init__(f"There is no asset {asset_id:.100}.")


class AssetInUse(InvalidRequest):
    """The asset is an output of a job, and is kept as long as the job."""


class BlobNotFound(InvalidRequest):
    """The owner has no asset with these bytes."""

    def __init__(self, hash_: str) -> None:
        super().__init__(f"No asset of this key has the hash {hash_:.100}. Send the file.")


class HashMismatch(InvalidRequest):
    """The bytes do not have the hash that the caller expects. Nothing was stored."""


class RouteNotFound(RequestRefused):
    """The API has no such path."""

    code = "route_not_found"


class MethodNotAllowed(RequestRefused):
    """The path exists, but not with this method."""

    code = "method_not_allowed"

    def __init__(self, detail: str, allow: Sequence[str]) -> None:
        super().__init__(detail)
        self.headers = {"allow": ", ".join(allow)}


class TooManySubscriptions(RequestRefused):
    """The socket already follows as many jobs as one socket may."""

    code = "too_many_subscriptions"

    def __init__(self, limit: int) -> None:
        super().__init__(f"A socket follows at most {limit} jobs; open another one.")


class JobNotRetryable(RequestRefused):
    """The job has not ended yet, or it succeeded."""

    code = "job_not_retryable"


class OverBudget(RequestRefused):
    """The owner has reached a limit. `budget` names the limit, and is part of the contract."""

    def __init__(self, detail: str, retry_after_seconds: int, budget: str) -> None:
        super().__init__(detail)
        self.headers = {"retry-after": str(retry_after_seconds)}
        self.budget = budget


class TooManyJobs(OverBudget):
    """The owner has as many jobs that have not ended as its key allows."""

    code = "too_many_jobs"


class TooManyRequests(OverBudget):
    """The owner has asked for as much in this minute or on this day as it may."""

    code = "too_many_requests"


class Unavailable(ComfylineError):
    """A part of the service is out of reach. Nothing was accepted; send the request again later."""

    code = "unavailable"


class JobsDisabled(Unavailable):
    """An operator has paused the service. Nothing was accepted; send the request again later."""

    code = "jobs_disabled"


class SocketsDisabled(Unavailable):
    """An operator has switched live progress off. Poll the job over HTTP instead."""

    code = "sockets_disabled"


class Unreadable(ComfylineError):
    """This release cannot read a stored item. The failure is logged for the operator.

    A retry of the same release fails in the same way, so the item is set aside.
    """


class TransitionRefused(ComfylineError):
    """The lifecycle table, or the guard of one of its rows, forbids this change."""


class LeaseLost(TransitionRefused):
    """This attempt no longer holds the job: its worker must stop and write nothing more."""


class ConnectionGone(ComfylineError):
    """The client has closed this socket."""
