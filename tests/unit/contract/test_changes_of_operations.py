"""A breaking change of an operation, a channel or a status is found, and an addition passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.contract_changes import asyncapi_changes, openapi_changes, unnamed
from tests.support.schema_changes import Change
from tools.contract_documents import DOCUMENTS, written

Json = Any
TEXTS = {name: written(name) for name in DOCUMENTS}
CHANGES = {
    "openapi.json": openapi_changes,
    "asyncapi.json": asyncapi_changes,
    "comfy.json": openapi_changes,
}

JOBS, JOB = "/api/v1/jobs", "/api/v1/jobs/{job_id}"


def submit(document: Json) -> Json:
    return document["paths"][JOBS]["post"]


def a_parameter(name: str, *, required: bool) -> Json:
    return {"in": "query", "name": name, "required": required, "schema": {"type": "string"}}


HTTP_BREAKS: dict[str, Callable[[Json], Any]] = {
    "GET /api/v1/jobs/{job_id}": lambda d: d["paths"].pop(JOB),
    "DELETE /api/v1/jobs/{job_id}": lambda d: d["paths"][JOB].pop("delete"),
    "POST /api/v1/jobs 422": lambda d: submit(d)["responses"].pop("422"),
    "POST /api/v1/jobs 202": lambda d: submit(d)["responses"].pop("202"),
    "POST /api/v1/jobs 201": lambda d: submit(d)["responses"].update({"201": {}}),
    "POST /api/v1/jobs 202 Location": lambda d: submit(d)["responses"]["202"]["headers"].pop(
        "Location"
    ),
    "POST /api/v1/jobs 503 Retry-After": lambda d: submit(d)["responses"]["503"]["headers"][
        "Retry-After"
    ].update(schema={"type": "string"}),
    "POST /api/v1/jobs 202 application/json": lambda d: submit(d)["responses"]["202"].update(
        content={"text/plain": {}}
    ),
    "POST /api/v1/jobs body application/json": lambda d: submit(d)["requestBody"].update(
        content={"text/plain": {}}
    ),
    "POST /api/v1/jobs body": lambda d: submit(d).pop("requestBody"),
    "POST /api/v1/jobs header.Prefer": lambda d: submit(d)["parameters"].pop(1),
    "POST /api/v1/jobs header.Idempotency-Key": lambda d: submit(d)["parameters"][0].update(
        required=True
    ),
    "POST /api/v1/jobs query.region": lambda d: submit(d)["parameters"].append(
        a_parameter("region", required=True)
    ),
    "GET /api/v1/jobs query.limit": lambda d: d["paths"][JOBS]["get"]["parameters"][1][
        "schema"
    ].update(maximum=50),
    "GET /api/v1/jobs query.status": lambda d: d["paths"][JOBS]["get"]["parameters"][0]["schema"][
        "enum"
    ].remove("expired"),
    "POST /api/v1/jobs": lambda d: submit(d).update(operationId="submit"),
    "GET /healthz": lambda d: d["paths"]["/healthz"]["get"].pop("security"),
    "GET /api/v1/usage": lambda d: d["paths"]["/api/v1/usage"]["get"].update(
        security=[{"signature": []}]
    ),
}
HTTP_ADDITIONS: dict[str, Callable[[Json], Any]] = {
    "a path": lambda d: d["paths"].update({"/new": d["paths"]["/healthz"]}),
    "a method": lambda d: d["paths"][JOB].update(patch=d["paths"][JOB]["get"]),
    "a problem's status": lambda d: submit(d)["responses"].update({"410": {}}),
    "an optional parameter": lambda d: submit(d)["parameters"].append(
        a_parameter("region", required=False)
    ),
    "a header": lambda d: submit(d)["responses"]["202"]["headers"].update({"ETag": {}}),
    "a media type": lambda d: submit(d)["requestBody"]["content"].update(
        {"application/cbor": {"schema": {}}}
    ),
    "a form of the body": lambda d: submit(d)["requestBody"]["content"]["application/json"][
        "schema"
    ]["oneOf"].append({"type": "array"}),
    "a summary": lambda d: submit(d).update(summary="Other words", tags=["Other"]),
    "a route that is open now": lambda d: d["paths"]["/metrics"]["get"].update(security=[]),
    "another way to authenticate": lambda d: d["security"].append({"token": []}),
    "a model": lambda d: d["components"]["schemas"].update(New={"type": "string"}),
}
SOCKET_BREAKS: dict[str, Callable[[Json], Any]] = {
    "ping": lambda d: d["operations"].pop("ping"),
    "report": lambda d: d["operations"]["report"].update(action="receive"),
    "report artifact": lambda d: d["operations"]["report"]["messages"].pop(2),
    "ping reply pong": lambda d: d["operations"]["ping"].pop("reply"),
    "channel live": lambda d: d["channels"]["live"].update(address="/other"),
    "channel live 1009": lambda d: d["channels"]["live"]["x-close-codes"].pop("1009"),
    "channel live 503": lambda d: d["channels"]["live"]["x-handshake-refusals"].pop("503"),
    "channel live query.ticket": lambda d: d["channels"]["live"]["bindings"]["ws"]["query"][
        "properties"
    ].pop("ticket"),
    "channel live headers.Authorization": lambda d: d["channels"]["live"]["bindings"]["ws"][
        "headers"
    ].update(required=["Authorization"]),
}
SOCKET_ADDITIONS: dict[str, Callable[[Json], Any]] = {
    "an operation": lambda d: d["operations"].update(pause=d["operations"]["ping"]),
    "a message": lambda d: d["operations"]["report"]["messages"].append(
        {"$ref": "#/channels/live/messages/pong"}
    ),
    "a close code": lambda d: d["channels"]["live"]["x-close-codes"].update({"1012": "Restart."}),
    "a query parameter": lambda d: d["channels"]["live"]["bindings"]["ws"]["query"][
        "properties"
    ].update(after={}),
}


def changes_after(name: str, edit: Callable[[Json], Any]) -> list[Change]:
    old, new = json.loads(TEXTS[name]), json.loads(TEXTS[name])
    edit(new)
    assert new != old
    return CHANGES[name](old, new)


@pytest.mark.parametrize("place", HTTP_BREAKS)
def test_a_break_of_an_operation_is_found(place: str) -> None:
    changes = changes_after("openapi.json", HTTP_BREAKS[place])
    assert place in {change.place for change in changes}


@pytest.mark.parametrize("addition", HTTP_ADDITIONS)
def test_an_operation_may_gain(addition: str) -> None:
    assert changes_after("openapi.json", HTTP_ADDITIONS[addition]) == []


@pytest.mark.parametrize("place", SOCKET_BREAKS)
def test_a_break_of_the_socket_is_found(place: str) -> None:
    changes = changes_after("asyncapi.json", SOCKET_BREAKS[place])
    assert place in {change.place for change in changes}


@pytest.mark.parametrize("addition", SOCKET_ADDITIONS)
def test_the_socket_may_gain(addition: str) -> None:
    assert changes_after("asyncapi.json", SOCKET_ADDITIONS[addition]) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_does_not_differ_from_itself(name: str) -> None:
    assert CHANGES[name](json.loads(TEXTS[name]), json.loads(TEXTS[name])) == []


def test_a_change_is_named_where_its_place_stands_under_unreleased() -> None:
    changes = [Change("JobView.cached", "was removed"), Change("ping", "was removed")]
    changelog = (
        "# Changelog\n\n## Unreleased\n\n- `ping` is gone.\n\n## 1.0.0\n\n- `JobView.cached`"
    )
    assert unnamed(changes, changelog) == changes[:1]
