"""The functions in this process, called with events as API Gateway makes them."""

from __future__ import annotations

import base64
import gzip
import importlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from moto import mock_aws

from comfyline.service.clock import Clock
from functions._aws import Aws
from functions._clients import Clients
from functions._handlers import Event
from functions._wiring import ENGINE_LOCK, Wiring
from infra.functions import FUNCTIONS, ROUTES
from tests.support.aws import (
    REGION,
    create_connections_table,
    create_jobs_table,
    create_keys_table,
    create_queues,
    create_table,
)

_FUNCTIONS: Mapping[str, str] = {route.key: row.name for route, row in ROUTES.items()}
_READ_COOKIES = {route.key for route in ROUTES if route.reads_cookie}
ENVIRONMENT = {
    "JOBS_TABLE": "jobs",
    "KEYS_TABLE": "keys",
    "OWNERS_TABLE": "owners",
    "CONNECTIONS_TABLE": "connections",
    "ARTIFACTS_BUCKET": "files",
    "SCALING_TABLE": "scaling",
    "STAGE": "test",
    "MAX_WAITS": "100",
    "ROUTES": ",".join(_FUNCTIONS),
    "WEBSOCKET_API_ID": "api",
    "WEBSOCKET_STAGE": "live",
    "WEBSOCKET_URL": "wss://sockets.example.com/live",
    "GREETER_FUNCTION": "greeter",
    "RELAY_FUNCTION": "relay",
    "PUBLIC_URL": "https://api.example.com",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    text: str
    cookies: tuple[str, ...] = ()  # as the browser is told to set them

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class AlteredAws(Aws):
    """The adapters of the functions, some of them replaced by name."""

    def __init__(self, environ: Mapping[str, str], client: Any, **replaced: Any) -> None:
        super().__init__(environ, client)
        vars(self).update(replaced)


class Context:
    """The context that Lambda passes to a function."""

    def get_remaining_time_in_millis(self) -> int:
        return 50_000


@dataclass
class Gateway:
    """Calls each function with the environment variables of its row and with nothing else.

    `owner` and `caller` are what the authorizer found. A route that reads cookies finds the caller
    itself, if the request says who calls. `wiring` and `aws` know every variable.
    """

    environ: Mapping[str, str]
    clock: Clock
    client: Callable[..., Any]
    lock_file: Path = ENGINE_LOCK
    kind: type[Wiring] = Wiring
    adapters: Mapping[str, Any] = field(default_factory=dict)  # in the place of the usual ones
    owner: str = "fox"
    caller: dict[str, str] = field(default_factory=lambda: {"scopes": "jobs", "key_id": "k"})
    made: dict[str, Wiring] = field(default_factory=dict)
    sleep: Callable[[float], object] = lambda _seconds: None

    def altered(self, **adapters: Any) -> Gateway:
        """The same functions on the same clients, with these adapters instead."""
        return replace(self, adapters=adapters, made={})

    @cached_property
    def aws(self) -> Aws:
        """The adapters, to inspect what the functions have stored."""
        return self._aws(self.environ)

    @cached_property
    def wiring(self) -> Wiring:
        """The use cases of every function."""
        return self._wiring(self.environ, self.aws)

    def call(self, function: str, event: Event) -> Any:
        """The response of the function with that name."""
        row = FUNCTIONS[function]
        if function not in self.made:
            variables = {f.name.upper() for group in row.settings for f in fields(group)}
            environ = {name: v for name, v in self.environ.items() if name in variables}
            self.made[function] = self._wiring(environ, self._aws(environ))
        module, _, name = row.handler.partition(".")
        handler = getattr(importlib.import_module(f"functions.{module}"), name)
        return handler(event, Context(), self.made[function])

    def _aws(self, environ: Mapping[str, str]) -> Aws:
        return AlteredAws(environ, self.client, **self.adapters)

    def _wiring(self, environ: Mapping[str, str], aws: Aws) -> Wiring:
        return self.kind(environ, self.clock, aws=aws, lock_file=self.lock_file, sleep=self.sleep)

    def __call__(
        self,
        method: str,
        path: str,
        json_body: Any = None,
        *,
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        owner: str | None = None,
    ) -> Reply:
        url = urlsplit(path)
        route, parameters = _route(method, url.path)
        given = {name.lower(): value for name, value in (headers or {}).items()}
        cookies = given.pop("cookie", "")  # API Gateway hands the header over apart
        caller = {"authorizer": {"lambda": {**self.caller, "owner": owner or self.owner}}}
        is_told = bool({"authorization", "cookie"} & {name.lower() for name in headers or {}})
        event = {
            "routeKey": route,
            **({"cookies": cookies.split("; ")} if cookies else {}),
            "rawPath": url.path,
            "rawQueryString": url.query,
            "headers": given,
            "queryStringParameters": dict(parse_qsl(url.query, keep_blank_values=True)),
            "pathParameters": parameters,
            "requestContext": {
                "http": {"method": method},
                "requestId": secrets.token_hex(8),
                **({} if is_told and route in _READ_COOKIES else caller),
            },
            **_sent(body if body is not None else json.dumps(json_body)),
        }
        answer = self.call(_FUNCTIONS.get(route, "UnknownRoute"), event)
        cookies = tuple(answer.get("cookies", ()))
        return Reply(answer["statusCode"], answer["headers"], _decoded(answer), cookies)


def _sent(body: str | bytes) -> dict[str, Any]:
    """The gateway encodes a body unless its type is text."""
    if isinstance(body, str):
        return {"body": body}
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def _decoded(answer: Mapping[str, Any]) -> str:
    if not answer.get("isBase64Encoded"):
        return str(answer["body"])
    content = base64.b64decode(answer["body"])
    is_compressed = answer["headers"].get("content-encoding") == "gzip"
    return (gzip.decompress(content) if is_compressed else content).decode()


def _route(method: str, path: str) -> tuple[str, dict[str, str]]:
    for key in _FUNCTIONS:
        verb, template = key.split(" ")
        names, parts = template.split("/"), path.split("/")
        pairs = [(n, p) for n, p in zip(names, parts, strict=False) if n != p]
        if verb == method and len(names) == len(parts) and all("{" in n for n, _ in pairs):
            return key, {name.strip("{}"): part for name, part in pairs}
    return "$default", {}


@contextmanager
def functions_on_moto(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, lock_file: Path = ENGINE_LOCK
) -> Iterator[Gateway]:
    """The functions on empty resources of moto.

    The operator's commands read the same settings from the environment variables of the process.
    """
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        session = boto_session()
        dynamodb = session.client("dynamodb")
        create_jobs_table(dynamodb, "jobs")
        create_keys_table(dynamodb, "keys")
        create_table(dynamodb, "owners", "pk", "sk")
        create_connections_table(dynamodb, "connections")
        session.client("s3").create_bucket(Bucket="files")
        urls = {
            f"{priority.value.upper()}_QUEUE_URL": url
            for priority, url in create_queues(session.client("sqs")).items()
        }
        create_table(dynamodb, "scaling", "pk")
        for name in ("DEAD_LETTER_QUEUE_URL", "PARKING_QUEUE_URL"):
            urls[name] = session.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        environ = {**ENVIRONMENT, **urls}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        yield Gateway(environ, clock, Clients(session.client), lock_file)


@cache
def boto_session() -> boto3.Session:
    """One session for all tests, because it caches the descriptions of AWS services."""
    return boto3.Session("testing", "testing", region_name=REGION)


def route_of(method: str, path: str) -> str | None:
    """The route that matches the request; None if there is none."""
    route, _ = _route(method, urlsplit(path).path)
    return None if route == "$default" else route
