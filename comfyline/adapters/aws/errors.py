"""Translate AWS's errors in one place: an error that a retry may solve becomes `Unavailable`.

A refused condition is an answer and not an error, so the caller of AWS handles it. All other errors
are bugs or wrong set-up of ours (a missing permission, a wrong name) and pass through unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError

from comfyline.service.errors import Unavailable

# These are temporary in addition to every answer with a 5xx status. AWS sends some of these codes
# with status 400, and the entries of a batch's answer have no status at all.
_TEMPORARY = frozenset(
    {
        "InternalError",
        "LimitExceededException",  # API Gateway: the client's buffer is full
        "OverLimit",  # SQS: too many messages in flight
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
    }
)


@contextmanager
def translated() -> Iterator[None]:
    """Translate the errors of the block; also usable as a decorator.

    Raises:
        Unavailable: AWS throttled the call, had an internal error, or could not be reached.
    """
    try:
        yield
    except ClientError as error:
        if error_code(error) in _TEMPORARY or _status(error) >= 500:
            raise Unavailable(f"{error.operation_name}: {error_code(error)}") from error
        raise
    except (BotoConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise Unavailable(type(error).__name__) from error


def error_code(error: ClientError) -> str:
    """The error code, without the prefix that SQS adds for old clients."""
    return error.response.get("Error", {}).get("Code", "").rpartition(".")[2]


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
