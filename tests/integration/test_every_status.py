"""Every status in the OpenAPI document is the answer to some request, as the document describes it.

The tables below make most of the requests for a new route. A status that no request gets, and that
is not listed as an exception, fails the test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NoReturn

import pytest
from botocore.exceptions import EndpointConnectionError

from comfyline.contract.ids import JobId, KeyId, OwnerId, random_job_id
from comfyline.contract.limits import MAX_OWN_KEYS
from comfyline.contract.v1.openapi import OPERATIONS, document
from comfyline.contract.v1.problem import Problem
from comfyline.service.access.authenticate import new_key
from functions._wiring import Wiring
from tests.support.builders import NOW, a_result, an_artifact, running, succeeded
from tests.support.gateway import Gateway, Reply
from tests.support.worker_by_hand import Worker

Route = tuple[str, str]

JOBS, JOB = "/api/v1/jobs", "/api/v1/jobs/{job_id}"
EVENTS, ARTIFACTS, RETRY = f"{JOB}/events", f"{JOB}/artifacts", f"{JOB}/retry"
GRAPH = f"{JOB}/graph"
FILE = [(method, f"{ARTIFACTS}/{{number}}") for method in ("GET", "HEAD")]
GENERATE, UPLOADS, TOKENS = "/api/v1/generate", "/api/v1/uploads", "/api/v1/tokens"
POSTS = [("POST", JOBS), ("POST", GENERATE)]
ME, USAGE = ("GET", "/api/v1/me"), ("GET", "/api/v1/usage")
KEYS, ADMIN = "/api/v1/keys", "/api/v1/admin"
MAKE_KEYS = [("POST", KEYS), ("POST", f"{KEYS}/{{key_id}}/rotate")]
LIMIT, SWITCH = ("PUT", f"{ADMIN}/keys/{{key_id}}/limits"), ("PUT", f"{ADMIN}/switches")
END = ("POST", f"{ADMIN}/sessions/end")
PICTURE = {"prompt": "a red fox"}
KEY = {"Idempotency-Key": "once"}


@dataclass(frozen=True, slots=True)
class Stage:
    """The API and a worker."""

    gateway: Gateway
    worker: Worker

    def submit(self, body: Any = PICTURE, **headers: str) -> str:
        return str(self.gateway("POST", JOBS, body, headers=headers).json["job_id"])

    def prepare_keys(self) -> KeyId:
        """Let the caller be a maker; the id of another key of its owner."""
        self.gateway.caller["key_id"] = self.new_key("jobs", "keys")
        return self.new_key("jobs")

    def new_key(self, *scopes: str, made_by: KeyId | None = None) -> KeyId:
        """The id of a new key of the owner."""
        owner, now = OwnerId(self.gateway.owner), self.gateway.clock()
        key, _ = new_key(owner, scopes=scopes, expires_at=None, now=now, made_by=made_by)
        self.gateway.aws.keys.put(key)
        return key.id

    def ask(self, route: Route, job_id: str | None = None, **more: Any) -> Reply:
        """The simplest request of the route; by default its job does not exist."""
        method, path = route
        body = next(iter(OPERATIONS[route].body.values()), None)
        url = path.replace("{job_id}", job_id or random_job_id(NOW)) + more.pop("query", "")
        url = url.replace("{number}", more.pop("number", "0"))
        key_id = more.pop("key_id", None)
        if "/keys" in url:
            key_id = key_id or self.prepare_keys()
            url = url.replace("{key_id}", key_id)
        url = url.replace("{file}", more.pop("file", "start.js"))
        if "body" not in more:
            more.setdefault("json_body", body)
        return self.gateway(method, url, **more)


Act = Callable[[Stage], Reply]
ACTS: dict[tuple[str, str, int], Act] = {}


def act(status: int, *routes: Route) -> Callable[[Callable[[Stage, Route], Reply]], None]:
    """Register a request that each of these routes answers with that status."""

    def add(call: Callable[[Stage, Route], Reply]) -> None:
        for route in routes:
            ACTS[*route, status] = partial(call, route=route)

    return add


# --- successes ------------------------------------------------------------------------------------

KEYLESS = {route for route, operation in OPERATIONS.items() if operation.is_open}
DOCS = [("GET", "/"), ("GET", "/docs"), ("GET", "/docs/{file}")]
ABOUT_A_JOB = [route for route in OPERATIONS if "{job_id}" in route[1]]
# A deployment without alarms makes no call to read them.
ASK_NOBODY = ("/api/v1/models", UPLOADS, f"{ADMIN}/alarms")
STORED = [r for r in OPERATIONS if r not in KEYLESS and r[1] not in ASK_NOBODY]

for status in (200, 201):
    rest = OPERATIONS.keys() - {*POSTS, *ABOUT_A_JOB}
    plain = [route for route in rest if status in OPERATIONS[route].answers]
    act(status, *plain)(lambda stage, route: stage.ask(route))
act(202, *POSTS)(lambda stage, route: stage.ask(route, headers={"Prefer": "wait=0"}))
act(200, ("GET", JOB), ("GET", GRAPH), ("GET", EVENTS), ("GET", ARTIFACTS))(
    lambda stage, route: stage.ask(route, stage.submit())
)
act(202, ("DELETE", JOB))(lambda stage, route: stage.ask(route, stage.submit()))


@act(200, *POSTS)
def ended_in_time(stage: Stage, route: Route) -> Reply:
    headers = {**KEY, "Prefer": "wait=1"}
    stage.submit(**KEY)
    stage.worker.work()
    return stage.ask(route, json_body=PICTURE, headers=headers)


def fetched(stage: Stage, route: Route, headers: dict[str, str]) -> Reply:
    """The answer about the file of a job that has one."""
    job = stage.gateway.aws.jobs.get(JobId(stage.submit()))
    assert job is not None
    ran = running(job, now=job.queued_at)
    stage.gateway.aws.jobs.put_result(ran, a_result(an_artifact(ran)))
    ended = stage.gateway.aws.jobs.save(job, succeeded(job, now=job.queued_at))
    return stage.ask(route, ended.id, headers=headers)


act(200, *FILE)(lambda stage, route: fetched(stage, route, {"Accept": "application/json"}))
act(302, *FILE)(lambda stage, route: fetched(stage, route, {}))
act(422, *FILE)(lambda stage, route: stage.ask(route, stage.submit(), query="?w=1"))


@act(202, ("POST", RETRY))
def retried(stage: Stage, route: Route) -> Reply:
    job_id = stage.submit()
    stage.worker.work(fails=True)
    return stage.ask(route, job_id)


# --- errors of the caller -------------------------------------------------------------------------

TAKE_A_BODY = [*POSTS, ("POST", UPLOADS), ("POST", TOKENS), *MAKE_KEYS, LIMIT, END, SWITCH]
ABOUT_A_KEY = [route for route in OPERATIONS if "{key_id}" in route[1]]

act(400, *TAKE_A_BODY)(lambda stage, route: stage.ask(route, body="{"))
act(400, ("POST", RETRY))(
    lambda stage, route: stage.ask(route, stage.submit(), headers={"Idempotency-Key": "ü"})
)
act(404, *ABOUT_A_JOB)(lambda stage, route: stage.ask(route))


@act(404, *ABOUT_A_KEY)
def of_no_key(stage: Stage, route: Route) -> Reply:
    stage.prepare_keys()
    return stage.ask(route, key_id="0" * 16)


act(422, USAGE)(lambda stage, route: stage.ask(route, query="?by=day"))
act(422, ("GET", f"{ADMIN}/errors"))(lambda stage, route: stage.ask(route, query="?days=0"))
act(422, *(("GET", f"{ADMIN}/{what}") for what in ("jobs", "keys", "owners")))(
    lambda stage, route: stage.ask(route, query="?limit=0")
)
act(409, SWITCH)(
    lambda stage, route: stage.ask(
        route, json_body={"jobs_enabled": False, "sockets_enabled": True, "version": 99}
    )
)


@act(409, *MAKE_KEYS)
def with_too_many_keys(stage: Stage, route: Route) -> Reply:
    for _ in range(MAX_OWN_KEYS):
        stage.new_key("jobs", made_by=KeyId("0" * 16))
    return stage.ask(route)


act(404, DOCS[2])(lambda stage, route: stage.ask(route, file="index.html"))
act(409, ("POST", RETRY))(lambda stage, route: stage.ask(route, stage.submit()))
act(413, *TAKE_A_BODY)(lambda stage, route: stage.ask(route, body="[" + " " * 10_000_000 + "]"))
act(422, *TAKE_A_BODY)(lambda stage, route: stage.ask(route, json_body={"what": 1}))
act(422, ("GET", JOBS))(lambda stage, route: stage.ask(route, query="?limit=0"))
act(422, ("DELETE", JOB))(lambda stage, route: stage.ask(route, stage.submit(), query="?purge=x"))
act(422, ("GET", ARTIFACTS))(
    lambda stage, route: stage.ask(route, stage.submit(), query="?limit=0")
)
act(422, ("GET", EVENTS))(lambda stage, route: stage.ask(route, stage.submit(), query="?after=x"))


NEED_A_KEY = [route for route in OPERATIONS if route not in KEYLESS]


@act(401, *NEED_A_KEY)
def without_a_valid_key(stage: Stage, route: Route) -> Reply:
    stage.gateway.caller = {"invalid_key": "true"}
    return stage.ask(route)


@act(403, *(route for route in NEED_A_KEY if route != ME))
def without_the_scope(stage: Stage, route: Route) -> Reply:
    stage.gateway.caller["scopes"] = "none"
    return stage.ask(route)


@act(422, ("POST", RETRY))
def retried_with_the_key_of_another_request(stage: Stage, route: Route) -> Reply:
    job_id = stage.submit(**KEY)
    stage.worker.work(fails=True)
    return stage.ask(route, job_id, headers=KEY)


@act(429, *POSTS)
def over_the_cap(stage: Stage, route: Route) -> Reply:
    stage.gateway.caller["max_active_jobs"] = "1"
    stage.submit()
    return stage.ask(route)


@act(429, ("POST", RETRY))
def retried_over_the_cap(stage: Stage, route: Route) -> Reply:
    job_id = stage.submit()
    stage.worker.work(fails=True)
    stage.gateway.caller["max_active_jobs"] = "1"
    stage.submit()
    return stage.ask(route, job_id)


# --- errors of the service ------------------------------------------------------------------------


@act(503, *STORED)
def store_out_of_reach(stage: Stage, route: Route) -> Reply:
    def unreachable(**_: Any) -> NoReturn:
        raise EndpointConnectionError(endpoint_url="https://aws")

    # The answer of /me is read from a table only if the key has a cap.
    stage.gateway.caller["max_active_jobs"] = "1"
    key_id = stage.prepare_keys()
    for service in ("dynamodb", "sqs", "cloudwatch"):
        client = stage.gateway.aws.client(service)
        client.meta.events.register("before-call", unreachable)
    return stage.ask(route, key_id=key_id)


READS_ITS_OWN_CODE = (
    ("GET", "/healthz"),
    ("GET", "/openapi.json"),
    ("GET", "/asyncapi.json"),
    *DOCS,
)


@act(500, *(route for route in OPERATIONS if route not in READS_ITS_OWN_CODE))
def bug(stage: Stage, route: Route) -> Reply:
    class Broken(Wiring):
        def __getattribute__(self, name: str) -> NoReturn:
            raise RuntimeError(f"a bug in {name}")

    broken = replace(stage.gateway, kind=Broken, made={})
    return replace(stage, gateway=broken).ask(route)


# --- exceptions -----------------------------------------------------------------------------------

EXCEPTIONS: dict[tuple[str, str, int], str] = {
    (*route, 500): "it makes no call that could fail" for route in READS_ITS_OWN_CODE
}
EXCEPTIONS[*ME, 403] = "every valid key may ask who it is"
EXCEPTIONS |= {
    (*route, 429): "only the throttling of the gateway answers it, which no emulator has"
    for route in OPERATIONS
    if route not in (*POSTS, ("POST", RETRY))
}
EXCEPTIONS |= {
    (*route, 503): "it calls no service that could be out of reach"
    for route in OPERATIONS
    if route not in STORED
}


# Of answers for a browser; the document leaves them out.
PAGE_HEADERS = {
    "Cache-Control",
    "Content-Encoding",
    "Content-Security-Policy",
    "Referrer-Policy",
    "Vary",
    "X-Content-Type-Options",
}


@cache
def _paths() -> Mapping[str, Any]:
    paths: Mapping[str, Any] = document()["paths"]
    return paths


def documented() -> set[tuple[str, str, int]]:
    """Every route and status of the document."""
    return {
        (method.upper(), path, int(status))
        for path, methods in _paths().items()
        for method, operation in methods.items()
        for status in operation["responses"]
    }


def test_every_documented_status_has_a_request_or_is_an_exception() -> None:
    assert documented() == ACTS.keys() | EXCEPTIONS.keys()
    assert not ACTS.keys() & EXCEPTIONS.keys()


@pytest.mark.parametrize(
    ("method", "path", "status"), sorted(ACTS), ids=lambda part: str(part).removeprefix("/api/v1")
)
def test_the_answer_is_as_documented(
    gateway: Gateway, worker: Worker, method: str, path: str, status: int
) -> None:
    gateway.caller["scopes"] = "jobs admin keys"
    reply = ACTS[method, path, status](Stage(gateway, worker))
    assert reply.status == status, reply.text
    response = _paths()[path][method.lower()]["responses"][str(status)]
    assert reply.headers["content-type"].split(";")[0] in response["content"]
    assert {name.title() for name in reply.headers} - {"Content-Type"} <= {
        name.title() for name in response["headers"]
    } | PAGE_HEADERS
    if model := OPERATIONS[method, path].answers.get(status, Problem):
        model.model_validate_json(reply.text)
