"""Bad requests of Comfy API v2: each gets the envelope, the status and the code of the contract."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from comfyline.contract.comfy_v2.operations import OPERATIONS
from functions._handlers import INVALID_KEY
from tests.integration.comfy_v2.requests import EMPTY, GRAPH, JOBS, SAVE, refusal
from tests.support.gateway import Gateway, route_of

NO_JOB = "job_" + "0" * 26


@dataclass(frozen=True, slots=True)
class Bad:
    """One request with one error, and the status and the code that answer it."""

    name: str
    status: int
    code: str
    method: str = "POST"
    path: str = JOBS
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def bad_requests() -> Iterator[Bad]:
    yield from _bodies()
    yield from _workflows()
    yield from _labels()
    yield from _keys()
    yield from _queries()
    yield from _paths()


def _bodies() -> Iterator[Bad]:
    for name, text in {
        "no body": "",
        "half an object": '{"workflow"',
        "two objects": "{}{}",
        "plain text": "a red fox",
        "65 levels of nesting": '{"workflow": ' + '{"a":' * 65 + "1" + "}" * 66,
    }.items():
        yield Bad(f"body: {name}", 400, "invalid_request", body=text)
    for name, value in {"null": None, "a list": [], "a text": "x", "a number": 1}.items():
        yield _post(f"body: {name}", value, code="invalid_request")
    yield Bad(
        "body: more than 4 MiB",
        *(413, "payload_too_large"),
        body=json.dumps({"workflow": {"1": "x" * (4 * 1024 * 1024)}}),
    )
    for name, value in {
        "no workflow": {},
        "a workflow that is null": {"workflow": None},
        "a workflow that is a list": {"workflow": [GRAPH]},
        "a workflow that is a text": {"workflow": json.dumps(GRAPH)},
        "a webhook": {"workflow": GRAPH, "webhook_url": "https://example.com"},
        "no webhook": {"workflow": GRAPH, "webhook_url": None},
        "inputs": {"workflow": GRAPH, "inputs": {}},
        "an unknown field": {"workflow": GRAPH, "priority": "high"},
        "the body of ComfyUI": {"prompt": GRAPH},
        "extra_data that is a list": {"workflow": GRAPH, "extra_data": []},
        "a key of a partner": {"workflow": GRAPH, "extra_data": {"api_key_comfy_org": "k"}},
        "a token of a partner": {"workflow": GRAPH, "extra_data": {"auth_token_comfy_org": "t"}},
        "unknown extra_data": {"workflow": GRAPH, "extra_data": {"extra_pnginfo": {}}},
    }.items():
        yield _post(f"body: {name}", value, code="invalid_request")


def _post(name: str, body: Any, *, code: str, status: int = 422, **headers: str) -> Bad:
    return Bad(name, status, code, body=json.dumps(body), headers=headers)


def _workflows() -> Iterator[Bad]:
    for name, export in {
        "saved from the editor": {"nodes": [], "links": [], "last_node_id": 1},
        "saved from the editor, in part": {"nodes": [{"id": 1}], "links": []},
        "nodes alone": {"nodes": []},
    }.items():
        yield _post(f"workflow: {name}", {"workflow": export}, code="workflow_format_ui")
    for name, graph in {
        "empty": {},
        "a node that is a text": {"1": "x"},
        "a node without a class": {"1": {"inputs": {}}, "2": SAVE},
        "a class that is a number": {"1": {"class_type": 1, "inputs": {}}, "2": SAVE},
        "a node without inputs": {"1": {"class_type": "EmptyImage"}, "2": SAVE},
        "inputs that are a list": {"1": {"class_type": "EmptyImage", "inputs": []}, "2": SAVE},
        "no output": {"1": EMPTY},
        "a link to no node": {"2": SAVE},
        "a cycle": {"1": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}},
        "a long id": {"1" * 300: EMPTY, "2": SAVE},
    }.items():
        yield _post(f"workflow: {name}", {"workflow": graph}, code="invalid_workflow")
    for name, value in {
        "an upload that nobody has sent": "upload:upl_" + "0" * 26,
    }.items():
        graph = {"1": {"class_type": "LoadImage", "inputs": {"image": value}}, "2": SAVE}
        yield _post(f"workflow: {name}", {"workflow": graph}, code="missing_asset")


def _labels() -> Iterator[Bad]:
    for name, labels in {
        "a list": ["a"],
        "a value that is a number": {"a": 1},
        "a value that is null": {"a": None},
        "17 of them": {str(n): "x" for n in range(17)},
        "an empty name": {"": "x"},
        "a name of 41 characters": {"a" * 41: "x"},
        "a blank in a name": {"a b": "x"},
        "a name with an accent": {"é": "x"},
        "a value of 257 bytes": {"a": "x" * 257},
        "a value of 129 characters of 2 bytes": {"a": "é" * 129},
        "a line break": {"a": "x\ny"},
        "a NUL": {"a": "\0"},
        "an override of the direction": {"a": "\u202ex"},
        "half a surrogate pair": {"a": "\ud800"},
    }.items():
        body = {"workflow": GRAPH, "metadata": labels}
        yield _post(f"labels: {name}", body, code="metadata_invalid")


def _keys() -> Iterator[Bad]:
    for name, key in {"empty": "", "256 characters": "x" * 256, "an accent": "é"}.items():
        body, headers = {"workflow": GRAPH}, {"idempotency-key": key}
        yield _post(f"key: {name}", body, code="invalid_request", **headers)
    yield _post(
        "lane: unknown",
        {"workflow": GRAPH},
        code="invalid_request",
        **{"x-comfyline-priority": "urgent"},
    )


def _queries() -> Iterator[Bad]:
    for query, status, code in (
        ("limit=0", 422, "invalid_request"),
        ("limit=101", 422, "invalid_request"),
        ("limit=x", 422, "invalid_request"),
        ("cursor=x", 400, "invalid_cursor"),
        ("cursor=W10", 400, "invalid_cursor"),
        ("metadata[a]=1&metadata[b]=1&metadata[c]=1&metadata[d]=1", 400, "invalid_metadata_filter"),
        ("metadata[a]=1&metadata%5Ba%5D=2", 400, "invalid_metadata_filter"),
        ("metadata[]=1", 400, "invalid_metadata_filter"),
        ("metadata[a%20b]=1", 400, "invalid_metadata_filter"),
        ("metadata[a]=%00", 400, "invalid_metadata_filter"),
        ("metadata[a]=%FF", 400, "invalid_metadata_filter"),
        ("metadata[a]=" + "x" * 257, 400, "invalid_metadata_filter"),
    ):
        yield Bad(f"list: {query[:60]}", status, code, "GET", f"{JOBS}?{query}")


def _paths() -> Iterator[Bad]:
    for job_id in (NO_JOB, "job_x", "x" * 300, "%00"):
        for method, rest in (
            ("GET", ""),
            ("GET", "/workflow"),
            ("GET", "/logs"),
            ("POST", "/cancel"),
        ):
            path = f"{JOBS}/{job_id}{rest}"
            yield Bad(f"path: {method} {path[:60]}", 404, "not_found", method, path)
    for path in ("/api/v2/nothing", "/api/v2/jobs/x/y/z", "/api/v2/"):
        yield Bad(f"path: {path}", 404, "not_found", "GET", path)
    yield Bad("path: DELETE of a job", 405, "method_not_allowed", "DELETE", f"{JOBS}/{NO_JOB}")


ALL = list(bad_requests())


def test_a_bad_request_is_refused_as_the_contract_says(gateway: Gateway) -> None:
    wrong = [found for bad in ALL if (found := difference(gateway, bad))]
    assert wrong == []
    assert boto3.client("dynamodb").scan(TableName="jobs")["Items"] == []


def difference(gateway: Gateway, bad: Bad) -> str | None:
    """How the answer differs from what the contract says."""
    reply = gateway(bad.method, bad.path, body=bad.body, headers=bad.headers)
    if refusal(reply) != (bad.status, bad.code):
        return f"{bad.name}: {reply.text}"
    route = route_of(bad.method, bad.path)
    if route is not None:
        method, path = route.split(" ")
        assert bad.status in OPERATIONS[method, path].statuses, bad.name
    return None


def test_they_are_many() -> None:
    assert len({bad.name for bad in ALL}) >= 60


KEYED = [*OPERATIONS]


@pytest.mark.parametrize(("method", "path"), KEYED)
class TestCallers:
    def ask(self, gateway: Gateway, method: str, path: str) -> tuple[int, str]:
        path = path.replace("{job_id}", NO_JOB).replace("{asset_id}", "x").replace("{hash}", "x")
        return refusal(gateway(method, path, {}))

    def test_a_wrong_key(self, gateway: Gateway, method: str, path: str) -> None:
        gateway.caller = {INVALID_KEY: "true"}
        assert self.ask(gateway, method, path) == (401, "unauthorized")

    def test_a_key_without_the_scope(self, gateway: Gateway, method: str, path: str) -> None:
        gateway.caller["scopes"] = "other"
        assert self.ask(gateway, method, path) == (403, "forbidden")

    def test_too_many_requests(self, gateway: Gateway, method: str, path: str) -> None:
        gateway.caller["requests_per_minute"] = "1"
        gateway("GET", f"{JOBS}/{NO_JOB}")
        gateway("GET", f"{JOBS}/{NO_JOB}")
        path = path.replace("{job_id}", NO_JOB).replace("{asset_id}", "x").replace("{hash}", "x")
        first, second = gateway(method, path, {}), gateway(method, path, {})
        assert refusal(second) == (429, "rate_limited")
        assert int(second.headers["retry-after"]) > 0
        assert first.status in (429, *OPERATIONS[method, path_of(method, path)].statuses)

    def test_a_bug(self, gateway: Gateway, method: str, path: str) -> None:
        gateway.client = None  # type: ignore[assignment]
        gateway.environ = {}
        assert self.ask(gateway, method, path) == (500, "upstream_error")


def path_of(method: str, path: str) -> str:
    route = route_of(method, path)
    assert route is not None
    return route.split(" ")[1]


def test_a_paused_service_accepts_nothing(gateway: Gateway) -> None:
    gateway.caller["jobs_enabled"] = "false"
    reply = gateway("POST", JOBS, {"workflow": GRAPH})
    assert refusal(reply) == (422, "deployment_stopped")


def test_a_cap_is_a_full_queue(gateway: Gateway) -> None:
    gateway.caller["max_active_jobs"] = "1"
    assert gateway("POST", JOBS, {"workflow": GRAPH}).status == 201
    reply = gateway("POST", JOBS, {"workflow": GRAPH})
    assert refusal(reply) == (429, "queue_full")
    assert int(reply.headers["retry-after"]) > 0
