"""Make handlers of the HTTP API: answers in payload format 2.0, and problems (RFC 9457)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from pydantic import BaseModel

from comfyline.contract.problems import PROBLEMS, TYPE_PREFIX
from comfyline.contract.texts import clean
from comfyline.contract.v1.problem import FieldProblem, Problem
from comfyline.service.access.budgets import REQUESTS
from comfyline.service.errors import (
    ComfylineError,
    JobsDisabled,
    OverBudget,
    RequestRefused,
    Unavailable,
)
from comfyline.service.texts import shortened
from functions._handlers import Event, Handler, lambda_handler, logger
from functions._request import Request
from functions._wiring import Wiring

RETRY_AFTER_SECONDS = 5  # throttling or a failover is usually over by then, or lasts minutes
PAUSED_SECONDS = 60  # an operator's pause lasts minutes at least, and authorizers cache it for 30 s
# The longest text of a request that a problem repeats: a Lambda's response has at most 6 MB.
MAX_DETAIL, MAX_SHOWN = 1_000, 200  # characters
# The header of an answer with a secret.
NO_STORE: Mapping[str, str] = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: a model of the contract, a text or bytes, with a status and headers."""

    body: BaseModel | str | bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cookie: str | None = None  # to set

    def to_gateway(self, request_id: str) -> dict[str, Any]:
        """The answer in the gateway's payload format 2.0."""
        is_problem = isinstance(self.body, Problem)
        kind = "application/problem+json" if is_problem else "application/json"
        headers = {"content-type": kind, "x-request-id": request_id, **self.headers}
        answer: dict[str, Any] = {"statusCode": self.status, "headers": headers}
        if self.cookie is not None:
            answer["cookies"] = [self.cookie]
        match self.body:
            case bytes() as content:
                encoded = base64.b64encode(content).decode()
                return {**answer, "body": encoded, "isBase64Encoded": True}
            case str() as text:
                return {**answer, "body": text}
            case model:
                return {**answer, "body": model.model_dump_json(exclude_none=is_problem)}


def http_handler(
    *, scope: str | None = "jobs", for_tokens: bool = False, reads_cookie: bool = False
) -> Callable[[Callable[[Request, Wiring], Answer]], Handler[dict[str, Any]]]:
    """Make a Lambda handler of a function of a request and a wiring; its errors become problems.

    The caller's API key must have `scope`, and its owner must be within its budget of requests;
    ANY_SCOPE is for a route that any valid key may call, None for one that needs no key. A token is
    accepted only with `for_tokens`: such a handler shows and changes nothing but what
    `Request.principal` may see. With `reads_cookie` the route has no authorizer in front of it: the
    caller is found here, by the header or the cookie.

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
                if reads_cookie:
                    from functions._cookies import with_caller

                    request = with_caller(request, wiring)
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
        FieldProblem(
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
    fields: list[FieldProblem] | None = None,
) -> Answer:
    kind = PROBLEMS[error.code]
    status = kind.status or 500  # a code of the socket alone is a bug here
    problem = Problem(
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
