"""Who is calling: the authorizers of the HTTP API and of the WebSocket API's $connect."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger

from comfyline.service.access.keys import ApiKey, Flags
from functions._handlers import Event, lambda_handler
from functions._wiring import Wiring

SOCKET_SCOPE = "jobs"

logger = Logger(service="authorize")


@lambda_handler
def http_handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """A simple response: refused is 403; without the header the gateway answers 401 by itself.

    It is cached for every route, so what a key may do is on the way to the functions, which check.
    """
    key = wiring.authenticate(_headers(event).get("authorization"))
    if key is None:
        logger.info("caller refused", extra={"action": "caller_refused"})
        return {"isAuthorized": False}
    logger.debug("caller known", extra={"action": "caller_known"})
    return {"isAuthorized": True, "context": _caller(key, wiring.flags())}


@lambda_handler
def socket_handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """An IAM policy, the only answer that a WebSocket API takes."""
    key = _socket_key(event, wiring)
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if key else "Deny",
        "Resource": event["methodArn"],
    }
    return {
        "principalId": key.owner if key else "nobody",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": _caller(key, wiring.flags()) if key else {},
    }


def _socket_key(event: Event, wiring: Wiring) -> ApiKey | None:
    """Behind the ticket of a browser, which can send no header, or behind the header."""
    ticket = (event.get("queryStringParameters") or {}).get("ticket")
    if ticket:
        key = wiring.redeem_ticket(ticket)
    else:
        key = wiring.authenticate(_headers(event).get("authorization"))
    if key is None or SOCKET_SCOPE not in key.scopes:
        logger.info("caller refused", extra={"action": "caller_refused"})
        return None
    logger.debug("caller known", extra={"action": "caller_known"})
    return key


def _headers(event: Event) -> dict[str, str]:
    # A WebSocket API keeps the headers' case as the client sent it.
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}


def _caller(key: ApiKey, flags: Flags) -> dict[str, str]:
    bounds = {name: str(bound) for name, bound in asdict(key.limits).items() if bound is not None}
    switches = {name: str(value).lower() for name, value in asdict(flags).items()}
    scopes = " ".join(sorted(key.scopes))
    return {"owner": key.owner, "key_id": key.id, "scopes": scopes, **bounds, **switches}
