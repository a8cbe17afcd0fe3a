"""Every error code that API v1 can answer, declared once.

Over HTTP a code travels in an `application/problem+json` body (RFC 9457). On the WebSocket it
travels in a message of type `error`. Codes and statuses are part of the public contract: a client
may decide by them. Titles and advice are for people and may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TYPE_PREFIX = "urn:comfyline:problem:"  # a problem's `type` is this prefix and its code


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """What a code means and what a caller does about it."""

    status: int | None  # of the HTTP response; None: the code is used on the socket only
    title: str
    advice: str
    on_socket: bool = False  # an `error` message can carry the code
    closes_socket: bool = False  # the service closes the socket right after that message


PROBLEMS: Mapping[str, ProblemKind] = {  # by code
    "malformed_request": ProblemKind(
        400, "Malformed request", "Send a JSON body, and headers in the documented format."
    ),
    "unauthorized": ProblemKind(
        401,
        "The key is not valid",
        "Use a key or a token that exists, has not expired and is not disabled.",
    ),
    "forbidden": ProblemKind(
        403,
        "Not permitted",
        "Use a key with the permission that `detail` names, and not a token.",
        on_socket=True,
    ),
    "job_not_found": ProblemKind(
        404,
        "Job not found",
        "Check the id. The job may belong to another owner or user, or be removed after its "
        "retention.",
        on_socket=True,
    ),
    "artifact_not_found": ProblemKind(
        404,
        "File not found",
        "Read the job: it lists its files with their numbers once it has ended.",
    ),
    "key_not_found": ProblemKind(
        404,
        "Key not found",
        "Check the id. The key may belong to another owner, or have ended.",
    ),
    "route_not_found": ProblemKind(404, "No such path", "Check the path against this document."),
    "method_not_allowed": ProblemKind(
        405, "Method not allowed", "Use one of the methods that the header `Allow` lists."
    ),
    "job_not_retryable": ProblemKind(
        409,
        "Job cannot be retried",
        "Retry a job only after it has failed, was canceled or has expired.",
    ),
    "switches_changed": ProblemKind(
        409,
        "The switches have changed",
        "Read the switches again, and send the version that you have read.",
    ),
    "too_many_keys": ProblemKind(
        409, "Too many keys", "End a key that is not used. It counts for a week after its end."
    ),
    "request_too_large": ProblemKind(
        413, "Request too large", "Send a smaller body, or ask for fewer pixels or fewer images."
    ),
    "invalid_request": ProblemKind(
        422, "Invalid request", "Correct the fields that `errors` lists."
    ),
    "idempotency_key_reused": ProblemKind(
        422,
        "Idempotency key reused with another request",
        "Use a new key for each new request. Repeat a key only with the identical request.",
    ),
    "too_many_jobs": ProblemKind(
        429,
        "Too many jobs that have not ended",
        "Wait until one of your jobs has ended, then send the same request again.",
    ),
    "too_many_requests": ProblemKind(
        429,
        "Too many requests",
        "Wait for the seconds in `Retry-After`, then send the same request again. `budget` names "
        "the limit that is reached. On the socket, wait for a minute.",
        on_socket=True,
    ),
    "internal_error": ProblemKind(
        500,
        "Internal error",
        "Report the `request_id` to the operator: the log has the failure under this id.",
    ),
    "unavailable": ProblemKind(
        503,
        "Service unavailable",
        "Wait for the seconds in `Retry-After`, then send the same request again.",
    ),
    "jobs_disabled": ProblemKind(
        503,
        "Jobs are disabled",
        "An operator has paused the service. Send the same request again later.",
    ),
    "sockets_disabled": ProblemKind(
        None,
        "Sockets are disabled",
        "An operator has switched live progress off. Poll the job over HTTP instead.",
        on_socket=True,
        closes_socket=True,
    ),
    "key_void": ProblemKind(
        None,
        "The key is no longer valid",
        "The key was disabled or has expired. Connect again with a valid key.",
        on_socket=True,
        closes_socket=True,
    ),
    "too_many_subscriptions": ProblemKind(
        None,
        "Too many subscriptions",
        "Unsubscribe from a job, or open another socket.",
        on_socket=True,
    ),
    "message_too_large": ProblemKind(
        None, "Message too large", "Send only the documented fields.", on_socket=True
    ),
    "bad_json": ProblemKind(
        None, "Message is not JSON", "Send one JSON object in each text frame.", on_socket=True
    ),
    "unknown_action": ProblemKind(
        None, "Unknown action", "Set `action` to one of the documented actions.", on_socket=True
    ),
    "bad_message": ProblemKind(
        None, "Invalid message", "Correct the field that `message` names.", on_socket=True
    ),
}
