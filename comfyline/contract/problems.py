"""Every error code that API v1 can answer, declared once.

Over HTTP a code travels in an `application/problem+json` body (RFC 9457). On the WebSocket it
travels in a message of type `error`. Codes and statuses are part of the public contract: a client
may decide by them. Titles and advice are for people and may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TYPE_PREFIX = "urn:comfyline:problem:"  # a problem's `type` is this prefix and its code


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """One code: what it means and what a caller does about it."""

    code: str
    title: str
    advice: str
    status: int | None = None  # of the HTTP response; None: the code is used on the socket only
    on_socket: bool = False  # an `error` message can carry the code
    closes_socket: bool = False  # the service closes the socket right after that message


_KINDS = (
    ProblemKind(
        code="malformed_request",
        status=400,
        title="Malformed request",
        advice="Send a body that is JSON, and headers of the documented form.",
    ),
    ProblemKind(
        code="forbidden",
        status=403,
        title="Scope missing",
        advice="Use a key that has the scope which the detail names.",
    ),
    ProblemKind(
        code="job_not_found",
        status=404,
        on_socket=True,
        title="Job not found",
        advice="Check the id. The job may belong to another owner, or its retention may be over.",
    ),
    ProblemKind(
        code="route_not_found",
        status=404,
        title="No such path",
        advice="Check the path against this document.",
    ),
    ProblemKind(
        code="method_not_allowed",
        status=405,
        title="Method not allowed",
        advice="Use one of the methods that the header `Allow` lists.",
    ),
    ProblemKind(
        code="job_not_retryable",
        status=409,
        title="Job cannot be retried",
        advice="Retry a job only after it has failed, was canceled or has expired.",
    ),
    ProblemKind(
        code="request_too_large",
        status=413,
        title="Request too large",
        advice="Send a smaller body, or ask for fewer pixels or fewer images.",
    ),
    ProblemKind(
        code="invalid_request",
        status=422,
        title="Invalid request",
        advice="Correct the fields that `errors` lists.",
    ),
    ProblemKind(
        code="idempotency_key_reused",
        status=422,
        title="Idempotency key reused with another request",
        advice="Use a new key for a new request, and the old key only for the identical request.",
    ),
    ProblemKind(
        code="too_many_jobs",
        status=429,
        title="Too many jobs that have not ended",
        advice="Wait until one of your jobs has ended, then send the same request again.",
    ),
    ProblemKind(
        code="too_many_requests",
        status=429,
        title="Too many requests",
        advice="Send the same request again after the seconds that `Retry-After` gives.",
    ),
    ProblemKind(
        code="internal_error",
        status=500,
        title="Internal error",
        advice="Report the `request_id`: the service has logged the failure under it.",
    ),
    ProblemKind(
        code="unavailable",
        status=503,
        title="Service unavailable",
        advice="Send the same request again after the seconds that `Retry-After` gives.",
    ),
    ProblemKind(
        code="jobs_disabled",
        status=503,
        title="Jobs are disabled",
        advice="An operator has paused the service. Send the same request again later.",
    ),
    ProblemKind(
        code="sockets_disabled",
        on_socket=True,
        closes_socket=True,
        title="Sockets are disabled",
        advice="An operator has switched live progress off. Poll the job over HTTP instead.",
    ),
    ProblemKind(
        code="key_void",
        on_socket=True,
        closes_socket=True,
        title="The key is no longer valid",
        advice="The key was disabled or has expired. Connect again with a valid key.",
    ),
    ProblemKind(
        code="too_many_subscriptions",
        on_socket=True,
        title="Too many subscriptions",
        advice="Unsubscribe from a job, or open another socket.",
    ),
    ProblemKind(
        code="message_too_large",
        on_socket=True,
        title="Message too large",
        advice="Send only the documented fields.",
    ),
    ProblemKind(
        code="bad_json",
        on_socket=True,
        title="Message is not JSON",
        advice="Send one JSON object in each text frame.",
    ),
    ProblemKind(
        code="unknown_action",
        on_socket=True,
        title="Unknown action",
        advice="Set `action` to one of the documented actions.",
    ),
    ProblemKind(
        code="bad_message",
        on_socket=True,
        title="Invalid message",
        advice="Correct the field that the message names.",
    ),
)

PROBLEMS: Mapping[str, ProblemKind] = {kind.code: kind for kind in _KINDS}
