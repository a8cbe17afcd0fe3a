"""The authorizers of the HTTP API and of the WebSocket API's $connect: find who calls."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from comfyline.service.access.authenticate import Identity
from comfyline.service.access.keys import Flags, with_included
from comfyline.service.access.tokens import Token
from functions._handlers import (
    INVALID_KEY,
    OWNER_WATCHED_UNTIL,
    Event,
    at_start,
    lambda_handler,
    logger,
)
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
    """
    found = wiring.access.authenticate(_headers(event).get("authorization"))
    if found is None:
        logger.info("caller refused", extra={"action": "caller_refused"})
        return {"isAuthorized": True, "context": {INVALID_KEY: "true"}}
    logger.debug("caller known", extra={"action": "caller_known"})
    context = _caller(found, wiring.access.flags())
    if until := wiring.aws.keys.owner_watched_until(found.key.owner):
        context[OWNER_WATCHED_UNTIL] = until.isoformat()
    return {"isAuthorized": True, "context": context}


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
        "context": _caller(found, wiring.access.flags()) if found else {},
    }


def _of_socket(event: Event, wiring: Wiring) -> Identity | None:
    """Who sent the socket pass in the query or the header: a browser can send no header."""
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


def _caller(found: Identity, flags: Flags) -> dict[str, str]:
    key, token = found.key, found.token
    bounds = {name: str(bound) for name, bound in asdict(key.limits).items() if bound is not None}
    switches = {name: str(value).lower() for name, value in asdict(flags).items()}
    scopes = " ".join(sorted(found.scopes))
    caller = {"owner": key.owner, "key_id": key.id, "scopes": scopes, **bounds, **switches}
    if key.name:
        caller["key_name"] = quote(key.name)  # ASCII, whatever the gateway makes of others
    if key.expires_at is not None:
        caller["key_ends_at"] = key.expires_at.isoformat()
    return caller if token is None else caller | _of_token(token)


def _of_token(token: Token) -> dict[str, str]:
    """What the functions must know of a token. An attribute that it does not have is left out."""
    known = {"user": token.user, "token": token.sha256, "max_jobs": token.max_jobs}
    shown = {name: str(value) for name, value in known.items() if value is not None}
    return {**shown, "ends_at": token.expires_at.isoformat()}
