"""Events of AWS from tests/events/, with the values that a test needs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

FOLDER = Path(__file__).parent.parent / "events"

Event = dict[str, Any]


def load(name: str) -> Event:
    """A new copy of an event of tests/events/."""
    event: Event = json.loads((FOLDER / f"{name}.json").read_text())
    return event


def http(
    name: str,
    *,
    owner: str | None = None,
    job_id: str | None = None,
    body: Any = None,
    query: Mapping[str, str] | None = None,
    **headers: str,
) -> Event:
    """A request of `owner`. A body that is no string becomes JSON; `_` in headers becomes `-`."""
    event = load(name)
    if owner is not None:
        event["requestContext"]["authorizer"]["lambda"]["owner"] = owner
    if job_id is not None:
        event["pathParameters"] = {"job_id": job_id}
        event["rawPath"] = f"/api/v1/jobs/{job_id}"
    if body is not None:
        event["body"] = body if isinstance(body, str) else json.dumps(body)
    if query is not None:
        event["queryStringParameters"] = dict(query)
        event["rawQueryString"] = urlencode(query)
    event["headers"] |= {name.replace("_", "-"): value for name, value in headers.items()}
    return event


def in_base64(event: Event) -> Event:
    """The same request with its body in base64, as the gateway passes on a binary one."""
    body = base64.b64encode(event["body"].encode()).decode()
    return {**event, "body": body, "isBase64Encoded": True}


def asking(name: str, authorization: str | None) -> Event:
    """The event of the authorizer `name`, with this header or without it."""
    event = load(name)
    headers = {k: v for k, v in event["headers"].items() if k.lower() != "authorization"}
    spelling = "Authorization" if name == "authorize_socket" else "authorization"
    sent = {} if authorization is None else {spelling: authorization}
    return {**event, "headers": headers | sent}
