"""Parse the events of an HTTP API (payload 2.0), and make answers and problems (RFC 9457)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from typing import Any

from pydantic import BaseModel

from comfyline.api.json import json_value
from comfyline.contract.comfy_v2.common import PREFIX as COMFY_PREFIX
from comfyline.contract.ids import JOB_ID_PATTERN, JobId, OwnerId, Principal
from comfyline.contract.limits import MAX_BODY_BYTES
from comfyline.contract.problems import PROBLEMS, TYPE_PREFIX
from comfyline.contract.texts import clean
from comfyline.contract.v1 import responses
from comfyline.service.access.budgets import REQUESTS
from comfyline.service.access.keys import with_included
from comfyline.service.access.slots import Limits
from comfyline.service.errors import (
    SEND_FILES,
    ComfylineError,
    FieldError,
    Forbidden,
    InvalidRequest,
    JobNotFound,
    JobsDisabled,
    MalformedRequest,
    OverBudget,
    RequestRefused,
    RequestTooLarge,
    Unauthorized,
    Unavailable,
)
from comfyline.service.texts import shortened
from functions._handlers import (
    INVALID_KEY,
    OWNER_WATCHED_UNTIL,
    Event,
    Handler,
    Sender,
    lambda_handler,
    logger,
)
from functions._wiring import Wiring

RETRY_AFTER_SECONDS = 5  # throttling or a failover is usually over by then, or lasts minutes
PAUSED_SECONDS = 60  # an operator's pause lasts minutes at least, and authorizers cache it for 30 s
# The longest text of a request that a problem repeats: a Lambda's response has at most 6 MB.
MAX_DETAIL, MAX_SHOWN = 1_000, 200  # characters

_KEY_ONLY = "A token cannot do this. Send the API key itself."
_PRINTABLE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, as the gateway hands it over."""

    event: Event

    @property
    def id(self) -> str:
        """The caller's X-Request-ID if it is short and printable, else the gateway's own id."""
        given = self.header("x-request-id") or ""
        return given if _PRINTABLE.fullmatch(given) else self.gateway_id

    @property
    def gateway_id(self) -> str:
        """The gateway's own id, which no caller can choose. Its access log has the same one."""
        return str(self.event["requestContext"]["requestId"])

    @property
    def is_comfy(self) -> bool:
        """Whether it is a request of Comfy API v2, whose errors have a form of their own."""
        return str(self.event.get("rawPath")).startswith(f"{COMFY_PREFIX}/")

    @property
    def sender(self) -> Sender:
        """Who has sent the request, as the authorizer has found."""
        return Sender(self._caller)

    @property
    def owner(self) -> OwnerId:
        """The owner, who may see everything of its own.

        Raises:
            Forbidden: the token of a user was sent, who may see only a part; see `principal`.
        """
        if self.sender.user is not None:
            raise Forbidden(_KEY_ONLY)
        return self.sender.owner

    @property
    def principal(self) -> Principal:
        """In whose name the request is made: what it may see and touch follows from this."""
        return self.sender.principal

    @property
    def limits(self) -> Limits:
        """The limits that the API key sets its owner."""
        return self.sender.limits

    @property
    def owner_watched_until(self) -> datetime | None:
        """Until when a client follows all jobs of the owner; None if none does."""
        text = self._caller.get(OWNER_WATCHED_UNTIL)
        return datetime.fromisoformat(text) if text else None

    @property
    def _caller(self) -> Mapping[str, str]:
        caller: Mapping[str, str] = self.event["requestContext"]["authorizer"]["lambda"]
        return caller

    def require(self, scope: str, now: datetime) -> None:
        """Check that the API key or the token is valid and has the scope.

        The gateway keeps the authorizer's answer for a while, so the end of a token is checked
        here.

        Raises:
            Unauthorized: the key or the token is not valid.
            Forbidden: it does not have the scope.
        """
        if INVALID_KEY in self._caller:
            raise Unauthorized
        ends_at = self.sender.ends_at
        if ends_at is not None and now >= ends_at:
            raise Unauthorized
        if scope not in with_included(self._caller["scopes"].split(" ")):
            raise Forbidden(f"The key lacks the scope {scope}.")

    def require_key(self) -> None:
        """Check that the API key itself was sent.

        Raises:
            Forbidden: a token was sent.
        """
        if self.sender.token is not None:
            raise Forbidden(_KEY_ONLY)

    def require_jobs_enabled(self) -> None:
        """Check that the service accepts jobs.

        Raises:
            JobsDisabled: an operator has paused it.
        """
        if self._caller.get("jobs_enabled") == "false":
            raise JobsDisabled("an operator has paused the service")

    @property
    def method(self) -> str:
        """The HTTP method, in capitals."""
        return str(self.event["requestContext"]["http"]["method"])

    @property
    def job_id(self) -> JobId:
        """The job id in the path.

        Raises:
            JobNotFound: the text in the path is no job id.
        """
        text = self.path_parameter("job_id") or ""
        if not re.fullmatch(JOB_ID_PATTERN, text):
            raise JobNotFound(text)
        return JobId(text)

    def path_parameter(self, name: str) -> str | None:
        """The part of the path that the route names so; None if the route has no such part."""
        value: str | None = (self.event.get("pathParameters") or {}).get(name)
        return value

    def header(self, name: str) -> str | None:
        """A header's value; `name` is in lower case."""
        value: str | None = (self.event.get("headers") or {}).get(name)
        return value

    def query(self, name: str) -> str | None:
        """A query parameter's value."""
        value: str | None = (self.event.get("queryStringParameters") or {}).get(name)
        return value

    def json(self) -> Any:
        """The parsed body; see `json_value`.

        Raises:
            MalformedRequest: the body is not JSON, or it is nested too deeply.
            RequestTooLarge: the body is longer than MAX_BODY_BYTES.
        """
        body = self.body()
        if len(body) > MAX_BODY_BYTES:
            raise RequestTooLarge(f"A body has at most {MAX_BODY_BYTES} bytes. {SEND_FILES}")
        try:
            return json_value(body.decode())
        except UnicodeDecodeError as error:
            raise MalformedRequest(f"The body is not UTF-8: {error}.") from error

    def body(self) -> bytes:
        """The bytes of the body.

        Raises:
            MalformedRequest: the gateway's encoding of them is damaged.
        """
        text: str = self.event.get("body") or ""
        if not self.event.get("isBase64Encoded"):
            return text.encode("utf-8", "surrogatepass")
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise MalformedRequest("The body is not valid base64.") from error


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: a model of the contract, a text or bytes, with a status and headers."""

    body: BaseModel | str | bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_gateway(self, request_id: str) -> dict[str, Any]:
        """The answer in the gateway's payload format 2.0."""
        is_problem = isinstance(self.body, responses.Problem)
        kind = "application/problem+json" if is_problem else "application/json"
        headers = {"content-type": kind, "x-request-id": request_id, **self.headers}
        answer: dict[str, Any] = {"statusCode": self.status, "headers": headers}
        match self.body:
            case bytes() as content:
                encoded = base64.b64encode(content).decode()
                return {**answer, "body": encoded, "isBase64Encoded": True}
            case str() as text:
                return {**answer, "body": text}
            case model:
                return {**answer, "body": model.model_dump_json(exclude_none=is_problem)}


def http_handler(
    *, scope: str | None = "jobs", for_tokens: bool = False
) -> Callable[[Callable[[Request, Wiring], Answer]], Handler[dict[str, Any]]]:
    """Make a Lambda handler of a function of a request and a wiring; its errors become problems.

    The caller's API key must have `scope`, and its owner must be within its budget of requests;
    None is for a route that needs no key. A token is accepted only with `for_tokens`: such a
    handler shows and changes nothing but what `Request.principal` may see.

    An unexpected error (a bug) is logged with its traceback. Its answer is a 500 problem without
    any detail.
    """

    def decorate(handle: Callable[[Request, Wiring], Answer]) -> Handler[dict[str, Any]]:
        @lambda_handler
        @wraps(handle)
        def handler(event: Event, wiring: Wiring) -> dict[str, Any]:
            request = Request(event)
            # A caller may send the id of another request, so the gateway's own id is logged too.
            logger.set_correlation_id(request.id)
            logger.append_keys(gateway_request_id=request.gateway_id)
            try:
                if scope is not None:
                    request.require(scope, wiring.clock())
                    if not for_tokens:
                        request.require_key()
                    wiring.access.budgets.spend(request.principal, REQUESTS, request.limits)
                answer = handle(request, wiring)
            except RequestRefused as error:
                answer = _refused(request, error, error.headers)
            except JobsDisabled as error:
                answer = _refused(request, error, {"retry-after": str(PAUSED_SECONDS)})
            except Unavailable as error:
                logger.exception("out of reach", extra={"action": "unavailable"})
                answer = _refused(request, error, {"retry-after": str(RETRY_AFTER_SECONDS)})
            except Exception as error:
                logger.exception("unexpected error", extra={"action": "bug"})
                answer = _refused(request, error, {})
            logger.debug("answered", extra={"action": "answered", "status": answer.status})
            return answer.to_gateway(request.id)

        return handler

    return decorate


def _refused(request: Request, error: Exception, headers: Mapping[str, str]) -> Answer:
    """The answer to an error, in the form of the API that the request is for."""
    known = error if isinstance(error, ComfylineError) else ComfylineError()
    if request.is_comfy:
        from comfyline.api.comfy_v2.errors import envelope  # requests of API v1 never load it

        status, body = envelope(known)
        return Answer(body, status, {**headers, "x-comfy-request-id": request.id})
    if isinstance(known, RequestRefused):
        return _refusal(known, request.id)
    # The caller gets the explanation of the error's class: a message could name internals.
    return _problem(known, known.explanation(), request.id, headers)


def _refusal(error: RequestRefused, request_id: str) -> Answer:
    fields = [
        responses.FieldProblem(
            loc=[shown(part) if isinstance(part, str) else part for part in e.loc],
            msg=shown(e.msg),
        )
        for e in error.errors
    ]
    return _problem(error, error.detail, request_id, error.headers, fields or None)


def _problem(
    error: ComfylineError,
    detail: str,
    request_id: str,
    headers: Mapping[str, str],
    fields: list[responses.FieldProblem] | None = None,
) -> Answer:
    kind = PROBLEMS[error.code]
    status = kind.status or 500  # a code of the socket alone is a bug here
    problem = responses.Problem(
        type=f"{TYPE_PREFIX}{error.code}",
        title=kind.title,
        status=status,
        detail=shown(detail, MAX_DETAIL),
        code=error.code,
        request_id=request_id,
        errors=fields,
        budget=error.budget if isinstance(error, OverBudget) else None,
    )
    return Answer(problem, status, headers)


def shown(text: str, limit: int = MAX_SHOWN) -> str:
    """A caller's text, of at most `limit` characters, that is safe to print in a terminal."""
    return clean(shortened(text, limit))


def invalid(detail: str, *loc: str) -> InvalidRequest:
    """The error (422) that names one invalid field."""
    return InvalidRequest(detail, [FieldError(loc, detail)])
