"""How often a failed call is repeated, and how long the client waits before it tries again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import httpx

from comfyline.client.errors import retry_after_seconds

RETRIED_STATUS = frozenset({429, 502, 503, 504})
PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter, so that clients that failed together retry apart.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    base_seconds: float = 0.5
    cap_seconds: float = 8.0

    def seconds(self, failures: int) -> float:
        """A random wait after that many failures in a row (at least 1)."""
        # The exponent has a limit because 2**1024 overflows a float, and a client that is offline
        # for a night fails more often than that. The cap applies long before 2**30.
        longest = min(self.cap_seconds, self.base_seconds * 2 ** min(failures - 1, 30))
        return random.uniform(0, longest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When the client repeats a call by itself, and when it raises the error instead.

    Args:
        tries: how often one call is sent at most.
        tries_to_connect: the same while no connection can be made; None: as `tries`.
        longest_wait_seconds: a `Retry-After` longer than this is not waited for. The client raises
            the error at once, so that the caller can decide.
    """

    tries: int = 5
    tries_to_connect: int | None = None
    backoff: Backoff = field(default_factory=Backoff)
    longest_wait_seconds: float = 60

    def wait_after_response(self, response: httpx.Response, failures: int) -> float | None:
        """Seconds to wait before the next try; None if this response is the final one."""
        if not _is_temporary(response) or failures >= self.tries:
            return None
        requested = retry_after_seconds(response) or 0.0
        if requested > self.longest_wait_seconds:
            return None
        # The random part is added because the service gives all throttled clients the same number.
        return requested + self.backoff.seconds(failures)

    def wait_after_no_response(self, error: httpx.TransportError, failures: int) -> float | None:
        """Seconds to wait before the next try; None if there have been enough tries."""
        tries = self.tries
        if isinstance(error, httpx.ConnectError) and self.tries_to_connect is not None:
            tries = self.tries_to_connect
        return None if failures >= tries else self.backoff.seconds(failures)


def _is_temporary(response: httpx.Response) -> bool:
    """Whether another try may succeed.

    API Gateway answers 500 if Lambda refuses to start the authorizer, which happens in a burst. Its
    answer differs from the service's own 500, which is a problem document.
    """
    is_problem = response.headers.get("content-type", "").startswith(PROBLEM)
    is_of_the_gateway = response.status_code == httpx.codes.INTERNAL_SERVER_ERROR and not is_problem
    return response.status_code in RETRIED_STATUS or is_of_the_gateway
