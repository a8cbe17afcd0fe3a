"""The answers of the deployed API to requests that it refuses."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from comfyline.contract.v1.problem import Problem
from localcloud.state import Endpoints
from tests.support import web

UI_EXPORT = {"nodes": [{"id": 1, "type": "KSampler"}], "links": [], "version": 0.4}
UNKNOWN_JOB = "job_00000000000000000000000000"

BODIES: dict[str, tuple[Any, str]] = {
    "neither form": ({}, "invalid_request"),
    "both forms": ({"prompt": "x", "workflow": {"1": {}}}, "invalid_request"),
    "a list": ([1], "invalid_request"),
    "null": (None, "invalid_request"),
    "an unknown field": ({"prompt": "x", "stepz": 3}, "invalid_request"),
    "a number as text": ({"prompt": "x", "steps": "20"}, "invalid_request"),
    "an empty prompt": ({"prompt": ""}, "invalid_request"),
    "no steps": ({"prompt": "x", "steps": 0}, "invalid_request"),
    "an odd width": ({"prompt": "x", "width": 513}, "invalid_request"),
    "a negative seed": ({"prompt": "x", "seed": -1}, "invalid_request"),
    "an unknown priority": ({"prompt": "x", "priority": "urgent"}, "invalid_request"),
    "metadata of numbers": ({"prompt": "x", "metadata": {"a": 1}}, "invalid_request"),
    "an empty workflow": ({"workflow": {}}, "invalid_request"),
    "a workflow as text": ({"workflow": "{}"}, "invalid_request"),
    "a workflow saved from the editor": ({"workflow": UI_EXPORT}, "invalid_request"),
    "a node without inputs": ({"workflow": {"1": {"class_type": "A"}}}, "invalid_request"),
    "a dangling link": (
        {"workflow": {"1": {"class_type": "A", "inputs": {"image": ["9", 0]}}}},
        "invalid_request",
    ),
    "too many pixels": ({"prompt": "x", "width": 8192, "height": 8192}, "request_too_large"),
}


def problem_of(answer: httpx.Response) -> Problem:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == answer.status_code
    assert problem.request_id == answer.headers["x-request-id"]
    assert problem.detail
    return problem


@pytest.mark.parametrize("what", BODIES)
def test_an_invalid_body_is_refused_and_its_errors_are_listed(api: httpx.Client, what: str) -> None:
    body, code = BODIES[what]
    content = json.dumps(body)  # httpx sends no body at all for None
    answer = api.post("/jobs", content=content, headers={"content-type": "application/json"})
    problem = problem_of(answer)
    assert problem.code == code
    assert answer.status_code == (413 if code == "request_too_large" else 422)
    if answer.status_code == 422:
        assert problem.errors


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"prompt": nan}'])
def test_a_body_that_is_not_json_is_malformed(api: httpx.Client, body: bytes) -> None:
    answer = api.post("/jobs", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, problem_of(answer).code) == (400, "malformed_request")


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_invalid_idempotency_key_is_malformed(api: httpx.Client, key: str) -> None:
    answer = api.post("/jobs", json={"prompt": "x"}, headers={"Idempotency-Key": key})
    assert (answer.status_code, problem_of(answer).code) == (400, "malformed_request")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("job_id", [UNKNOWN_JOB, "nonsense", "job_x"])
def test_an_unknown_job_is_not_found(api: httpx.Client, method: str, job_id: str) -> None:
    answer = api.request(method, f"/jobs/{job_id}")
    assert (answer.status_code, problem_of(answer).code) == (404, "job_not_found")


def test_an_unknown_path_or_method_is_refused(api: httpx.Client) -> None:
    assert problem_of(api.get("/nothing/here")).code == "route_not_found"
    answer = api.put("/jobs", json={})
    assert (answer.status_code, problem_of(answer).code) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, None),  # the gateway's own answer
        ({"Authorization": "Bearer nonsense"}, "unauthorized"),
        ({"Authorization": "Bearer cl_0000000000000000_" + "x" * 43}, "unauthorized"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, "unauthorized"),
    ],
)
def test_a_request_without_a_valid_key_is_refused(
    endpoints: Endpoints, headers: dict[str, str], code: str | None
) -> None:
    answer = web.get(f"{endpoints.api_url}/api/v1/jobs", headers=headers)
    assert answer.status_code == 401
    assert answer.json().get("code") == code


def test_a_web_page_of_another_origin_may_call(endpoints: Endpoints) -> None:
    url, page = f"{endpoints.api_url}/api/v1/jobs", {"Origin": "https://app.example.com"}
    asked = {
        **page,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    preflight = web.options(url, headers=asked)
    assert preflight.is_success
    assert preflight.headers["access-control-allow-origin"] in ("*", page["Origin"])
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed.split(","))
    key = {"Authorization": f"Bearer {endpoints.api_key}"}
    answer = web.get(url, headers=page | key)
    assert answer.headers["access-control-allow-origin"] in ("*", page["Origin"])
    assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
    refused = web.get(url, headers={**page, "Authorization": "Bearer no"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")


def test_health_needs_no_key(endpoints: Endpoints) -> None:
    answer = web.get(f"{endpoints.api_url}/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_the_answer_repeats_the_request_id_of_the_caller(api: httpx.Client) -> None:
    answer = api.get(f"/jobs/{UNKNOWN_JOB}", headers={"X-Request-ID": "trace-42"})
    assert problem_of(answer).request_id == "trace-42"
