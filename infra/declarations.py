"""The types of which the rows in rows/ consist."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from comfyline.service.settings import Settings
from infra.grants import Grant, Resource

# A function makes a few calls of some milliseconds; this leaves room for one cold start and one
# retried call. API Gateway gives up on a WebSocket route after 29 s.
REQUEST_TIMEOUT = 10
# A caller may ask to wait for 25 s; API Gateway gives up after 30 s.
WAITING_TIMEOUT = 29
# Lambda allots CPU in proportion to memory: one CPU for 1,769 MB. With less than this, imports make
# a cold start slow; with more, most functions wait for the network at a higher price.
MEMORY_MB = 512
# The CPU of some is the bottleneck: they sign requests and speak TLS in many threads. For such work
# a second at twice the memory costs as much as two.
BUSY_MEMORY_MB = 1769

# Where the functions' code has the built files of the console.
CONSOLE_FOLDER = "functions/_console"

# The part of an event pattern that picks the row of a job among the rows of the jobs table.
ROW_OF_A_JOB: Mapping[str, Any] = {"Keys": {"sk": {"S": ["job"]}}}


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path of the HTTP API. Callers need a key unless the route is open.

    `reads_cookie`: the cookie of a session serves in place of a key. The function itself then finds
    the caller, because the identity source of API Gateway's authorizer is one header, and the
    gateway refuses each request without it.
    """

    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE"]
    path: str
    is_open: bool = False
    reads_cookie: bool = False

    @property
    def key(self) -> str:
        """The route as API Gateway writes it."""
        return f"{self.method} {self.path}"

    @property
    def has_authorizer(self) -> bool:
        """Whether API Gateway asks the authorizer who calls."""
        return not (self.is_open or self.reads_cookie)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsStream:
    """Lambda reads the stream of the jobs table and calls the function with batches of changes."""

    filters: tuple[Mapping[str, Any], ...]  # event patterns; a change passes if one of them matches
    batch_size: int
    # Further patterns, where the deployment has a scaler. Elsewhere a call for them does nothing.
    filters_for_scaler: tuple[Mapping[str, Any], ...] = ()
    # After so many retries, or at that age, a change is skipped. None: Lambda retries it as long as
    # the stream holds it, which is 24 h.
    retries: int | None = None
    max_age_seconds: int | None = None
    window_seconds: int | None = None  # how long Lambda waits for a batch to fill
    parallel_batches: int | None = None  # for each shard; the order within one job is kept
    # The function's response names the changes that failed, and Lambda halves a batch that fails.
    reports_failures: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """Lambda receives from the queue; the function's response names the messages that failed."""

    queue: Resource
    batch_size: int


@dataclass(frozen=True, slots=True)
class AsyncCalls:
    """Another function calls the function and does not wait.

    Lambda does not retry a failed call, and drops a call that is a minute old, because a later call
    makes up for it or its reason is over by then.
    """


@dataclass(frozen=True, slots=True)
class EveryMinute:
    """EventBridge Scheduler calls the function, without waiting, as with AsyncCalls."""


@dataclass(frozen=True, slots=True)
class TaskCrashes:
    """EventBridge calls the function for each task of the fleet that ends with an error.

    It also calls it for each task that cannot be started, unless only instances are missing.
    """


_CALLS: Mapping[type, str] = {
    JobsStream: "changes of jobs",
    Queue: "messages of a queue",
    AsyncCalls: "calls of another function",
    EveryMinute: "every minute",
    TaskCrashes: "workers that crash",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One Lambda function.

    `name` is the construct's name. Unless `handler` says otherwise, the handler is `handler` in the
    module of that name: GetJob is `functions/get_job.py`.
    """

    name: str
    settings: tuple[type[Settings], ...] = ()  # their fields are its environment variables
    grants: tuple[Grant, ...] = ()  # besides those of every function
    routes: tuple[Route, ...] = ()
    socket_routes: tuple[str, ...] = ()  # route keys of the WebSocket API
    triggers: tuple[JobsStream | Queue | AsyncCalls | EveryMinute | TaskCrashes, ...] = ()
    timeout: int = REQUEST_TIMEOUT  # seconds
    memory: int = MEMORY_MB  # with the reason, where it differs
    # Calls at once that other functions cannot take from it, which is also the most that it gets.
    # Only where the account's limit is high enough.
    reserved: int = 0
    is_traced: bool = True  # where the deployment has tracing
    stack: Literal["api", "scaler"] = "api"
    handler: str = ""  # "<module>.<function>" in functions/
    # A folder of files that only functions with this value have in their code. It keeps the code of
    # the others small.
    folder: str = ""

    def __post_init__(self) -> None:
        handler = self.handler or f"{re.sub(r'(?<!^)(?=[A-Z])', '_', self.name).lower()}.handler"
        object.__setattr__(self, "handler", handler)

    @property
    def description(self) -> str:
        """The callers of the function, for a person who reads it in an account."""
        calls = [route.key for route in self.routes]
        calls += [f"WebSocket {key}" for key in self.socket_routes]
        calls += [_CALLS[type(trigger)] for trigger in self.triggers]
        return f"Comfyline {self.name}: {', '.join(calls) or 'called by API Gateway'}"

    @property
    def is_called_by_gateway(self) -> bool:
        """Whether a caller waits for it: for a route, an authorizer, or the answer of no route."""
        return bool(self.routes or self.socket_routes) or not self.triggers

    @property
    def module(self) -> str:
        """The module of the handler, which is also the service that its log lines name."""
        return self.handler.partition(".")[0]
