"""The authorizers of the HTTP API and of the WebSocket API's $connect: find who calls."""

from __future__ import annotations

from typing import Any

from comfyline.service.access.authenticate import Identity
from comfyline.service.access.edge import HEADER
from comfyline.service.access.keys import with_included
from functions._context import context_of, context_of_request
from functions._handlers import Event, at_start, lambda_handler, logger
from functions._wiring import Wiring

SOCKET_SCOPE = "jobs:read"


at_start(lambda wiring: (wiring.aws.keys, wiring.access.flags))


@lambda_handler
def http_handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """Answer with API Gateway's simple response, which always lets the request through.

    The gateway would answer its own 403 to a wrong key. So a request with a wrong key goes on
    without an owner, and the functions answer it with the 401 of the contract. The gateway itself
    answers 401 to a request without the header. It caches the response for every route, so each
    function checks the scope of the key itself.

    It refuses only a request that has gone round the edge. Where the edge is required, open routes
    have an authorizer too, whose only identity source is the edge's header. Its response is cached
    for all callers, so it names none.
    """
    if not _came_through_edge(event, wiring):
        return {"isAuthorized": False}
    if wiring.access.requires_edge and event["identitySource"] == [_headers(event)[HEADER]]:
        return {"isAuthorized": True}
    found = wiring.access.authenticate(_headers(event).get("authorization"))
    return {"isAuthorized": True, "context": context_of_request(found, wiring)}


@lambda_handler
def socket_handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """Answer with an IAM policy, the only response that a WebSocket API accepts."""
    found = _of_socket(event, wiring)
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if found else "Deny",
        "Resource": event["methodArn"],
    }
    return {
        "principalId": found.key.owner if found else "nobody",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": _of_new_socket(found, wiring) if found else {},
    }


def _came_through_edge(event: Event, wiring: Wiring) -> bool:
    if wiring.access.came_through_edge(_headers(event).get(HEADER)):
        return True
    logger.info("edge gone round", extra={"action": "edge_gone_round"})
    return False


def _of_new_socket(found: Identity, wiring: Wiring) -> dict[str, str]:
    """The caller. A page renews its bearer, so its socket lives as long as its session may."""
    context = context_of(found, wiring.access.flags())
    if found.session is not None:
        context["ends_at"] = found.session.expires_at.isoformat()
    return context


def _of_socket(event: Event, wiring: Wiring) -> Identity | None:
    """Who sent the socket pass in the query or the header: a browser can send no header."""
    if not _came_through_edge(event, wiring):
        return None  # and the socket pass stays valid
    socket_pass = (event.get("queryStringParameters") or {}).get("ticket")
    if socket_pass:
        found = wiring.access.redeem_socket_pass(socket_pass)
    else:
        found = wiring.access.authenticate(_headers(event).get("authorization"))
    if found is None or SOCKET_SCOPE not in with_included(found.scopes):
        logger.info("caller refused", extra={"action": "caller_refused"})
        return None
    logger.debug("caller known", extra={"action": "caller_known"})
    return found


def _headers(event: Event) -> dict[str, str]:
    # A WebSocket API passes header names on in the case in which the client sent them.
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}
