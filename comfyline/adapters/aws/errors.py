"""AWS's errors, translated in one place: what may work later becomes `Unavailable`.

A condition that failed is an answer, not an error, and is handled at the call. Everything else is
a fault of ours (a missing permission, a wrong name) and passes through untouched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError

from comfyline.service.errors import Unavailable

# Beside every answer with a status of 5xx. Some of these come with a 400, and the entries of a
# batch's answer come with no status at all.
_PASSING = frozenset(
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
    """What is raised inside, in our terms; also a decorator.

    Raises:
        Unavailable: throttled, a fault of the service, or out of reach.
    """
    try:
        yield
    except ClientError as error:
        if error_code(error) in _PASSING or _status(error) >= 500:
            raise Unavailable(f"{error.operation_name}: {error_code(error)}") from error
        raise
    except (BotoConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise Unavailable(type(error).__name__) from error


def error_code(error: ClientError) -> str:
    """The code without the prefix that SQS puts before it for old clients."""
    return error.response.get("Error", {}).get("Code", "").rpartition(".")[2]


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
