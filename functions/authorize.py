"""The authorizers of the HTTP API and of the WebSocket API's $connect: find the caller's key."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from comfyline.service.access.keys import ApiKey, Flags
from functions._handlers import INVALID_KEY, OWNER_WATCHED_UNTIL, Event, lambda_handler, logger
from functions._wiring import Wiring

SOCKET_SCOPE = "jobs"


@lambda_handler
def http_handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """Answer with API Gateway's simple response, which always lets the request through.

    The gateway would answer its own 403 to a wrong key. So a request with a wrong key goes on
    without an owner, and the functions answer it with the 401 of the contract. The gateway itself
    answers 401 to a request without the header. It caches the response for every route, so each
    function checks the scope of the key itself.
    """
    key = wiring.access.authenticate(_headers(event).get("authorization"))
    if key is None:
        logger.info("caller refused", extra={"action": "caller_refused"})
        return {"isAuthorized": True, "context": {INVALID_KEY: "true"}}
    logger.debug("caller known", extra={"action": "caller_known"})
    context = _caller(key, wiring.access.flags())
    if until := wiring.aws.keys.owner_watched_until(key.owner):
        context[OWNER_WATCHED_UNTIL] = until.isoformat()
    return {"isAuthorized": True, "context": context}


@lambda_handler
def socket_handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """Answer with an IAM policy, the only response that a WebSocket API accepts."""
    key = _socket_key(event, wiring)
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if key else "Deny",
        "Resource": event["methodArn"],
    }
    return {
        "principalId": key.owner if key else "nobody",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": _caller(key, wiring.access.flags()) if key else {},
    }


def _socket_key(event: Event, wiring: Wiring) -> ApiKey | None:
    """The key of the socket pass in the query or of the header: a browser can send no header."""
    socket_pass = (event.get("queryStringParameters") or {}).get("ticket")
    if socket_pass:
        key = wiring.access.redeem_socket_pass(socket_pass)
    else:
        key = wiring.access.authenticate(_headers(event).get("authorization"))
    if key is None or SOCKET_SCOPE not in key.scopes:
        logger.info("caller refused", extra={"action": "caller_refused"})
        return None
    logger.debug("caller known", extra={"action": "caller_known"})
    return key


def _headers(event: Event) -> dict[str, str]:
    # A WebSocket API passes header names on in the case in which the client sent them.
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}


def _caller(key: ApiKey, flags: Flags) -> dict[str, str]:
    bounds = {name: str(bound) for name, bound in asdict(key.limits).items() if bound is not None}
    switches = {name: str(value).lower() for name, value in asdict(flags).items()}
    scopes = " ".join(sorted(key.scopes))
    return {"owner": key.owner, "key_id": key.id, "scopes": scopes, **bounds, **switches}
