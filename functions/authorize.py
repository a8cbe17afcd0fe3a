"""Who is calling: the authorizers of the HTTP API and of the WebSocket API's $connect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from comfyline.ports import ApiKey
from comfyline.settings import AuthorizeSettings
from comfyline.usecases.authenticate import authenticate
from functions import _wiring

SCOPE = "jobs"  # what every route so far needs

logger = Logger(service="authorize")

Event = Mapping[str, Any]


def http_handler(event: Event, _context: Any) -> dict[str, Any]:
    """A simple response: refused is 403; without the header the gateway answers 401 by itself."""
    key = _key(event)
    if key is None:
        return {"isAuthorized": False}
    return {"isAuthorized": True, "context": _caller(key)}


def socket_handler(event: Event, _context: Any) -> dict[str, Any]:
    """An IAM policy, the only answer that a WebSocket API takes."""
    key = _key(event)
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if key else "Deny",
        "Resource": event["methodArn"],
    }
    return {
        "principalId": key.owner if key else "nobody",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": _caller(key) if key else {},
    }


def _key(event: Event) -> ApiKey | None:
    settings = _wiring.settings(AuthorizeSettings)
    # A WebSocket API keeps the header's case as the client sent it.
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    keys = _wiring.keys(settings.keys_table)
    key = authenticate(headers.get("authorization"), keys=keys, clock=_wiring.clock)
    if key is None or SCOPE not in key.scopes:
        logger.info("caller refused", extra={"action": "caller_refused"})
        return None
    return key


def _caller(key: ApiKey) -> dict[str, str]:
    return {"owner": key.owner, "key_id": key.id, "scopes": " ".join(sorted(key.scopes))}
