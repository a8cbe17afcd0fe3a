"""POST /api/v1/jobs, from the gateway's event to the job, its request and its ticket."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from comfyline.adapters.aws.metrics import EmfMetrics
from comfyline.contract.limits import MAX_BODY_BYTES
from comfyline.contract.v1.problem import Problem
from comfyline.service.jobs.job import Status
from comfyline.service.queue.lanes import Priority
from tests.integration.handlers.conftest import Cloud
from tests.integration.handlers.problems import problem
from tests.support import events
from tests.support.builders import a_graph, an_owner

TEXT = {"prompt": "a red fox"}
UI_EXPORT = {"nodes": [{"id": 1, "type": "KSampler"}], "links": [], "version": 0.4}


def post(cloud: Cloud, body: Any, **headers: str) -> dict[str, Any]:
    return cloud.call("SubmitJob", events.http("http_submit_job", body=body, **headers))


def refused(cloud: Cloud, body: Any, **headers: str) -> Problem:
    return problem(post(cloud, body, **headers))


# --- accepted -------------------------------------------------------------------------------------


def test_a_job_is_stored_and_its_ticket_sent(cloud: Cloud) -> None:
    answer = cloud.call("SubmitJob", events.load("http_submit_job"))
    body = json.loads(answer["body"])
    job = cloud.job(body["job_id"])
    assert answer["statusCode"] == 202
    assert answer["headers"] == {
        "content-type": "application/json",
        "x-request-id": "JKJaXmPLvHcESHA=",
        "location": f"/api/v1/jobs/{job.id}",
    }
    assert body == {
        "job_id": job.id,
        "status": "queued",
        "queued_at": "2026-03-01T12:00:00.123456Z",
        "location": f"/api/v1/jobs/{job.id}",
    }
    assert (job.owner, job.status, job.queued_at) == ("somebody", Status.QUEUED, cloud.clock())
    assert job.request_id == "JKJaXmPLvHcESHA="
    assert cloud.jobs.graph(job)["5"]["inputs"]["seed"] == 42
    assert cloud.tickets() == [job.id]


def test_a_graph_is_stored_as_it_was_sent(cloud: Cloud) -> None:
    graph = a_graph("two foxes")
    answer = post(cloud, {"workflow": graph})
    assert cloud.jobs.graph(cloud.job(json.loads(answer["body"])["job_id"])) == graph


def test_every_option_reaches_the_job(cloud: Cloud) -> None:
    answer = post(
        cloud,
        TEXT
        | {
            "priority": "high",
            "start_deadline_seconds": 60,
            "execution_timeout_seconds": 30,
            "metadata": {"project": "foxes"},
        },
    )
    job_id = json.loads(answer["body"])["job_id"]
    record = cloud.jobs.read(job_id)
    assert record is not None
    assert record.job.start_deadline == cloud.clock() + timedelta(seconds=60)
    assert record.job.execution_timeout == timedelta(seconds=30)
    assert record.params.metadata == {"project": "foxes"}
    assert (cloud.tickets(Priority.HIGH), cloud.tickets()) == ([job_id], [])


def test_a_body_in_base64_is_read(cloud: Cloud) -> None:
    event = events.in_base64(events.load("http_submit_job"))
    assert cloud.call("SubmitJob", event)["statusCode"] == 202


def test_a_replay_is_answered_with_the_same_job(cloud: Cloud) -> None:
    first = post(cloud, TEXT, idempotency_key="once")
    cloud.clock.advance(1)
    again = post(cloud, TEXT, idempotency_key='"once"')  # the same key as a structured field
    assert again["body"] == first["body"]
    assert again["headers"]["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first["headers"]
    assert len(cloud.tickets()) == 1


def test_two_owners_may_use_the_same_key(cloud: Cloud) -> None:
    asked = [
        events.http("http_submit_job", owner=an_owner(), body=TEXT, idempotency_key="once")
        for _ in range(2)
    ]
    answers = [cloud.call("SubmitJob", event) for event in asked]
    assert [a["statusCode"] for a in answers] == [202, 202]
    assert len({json.loads(a["body"])["job_id"] for a in answers}) == 2


def test_the_callers_request_id_is_echoed_and_kept(cloud: Cloud) -> None:
    answer = post(cloud, TEXT, x_request_id="mine-1")
    assert answer["headers"]["x-request-id"] == "mine-1"
    assert cloud.job(json.loads(answer["body"])["job_id"]).request_id == "mine-1"


def test_a_request_id_that_would_break_a_header_is_not_echoed(cloud: Cloud) -> None:
    answer = post(cloud, TEXT, x_request_id="a\r\nset-cookie: b")
    assert answer["headers"]["x-request-id"] == "JKJaXmPLvHcESHA="


# --- refused: nothing is stored -------------------------------------------------------------------


@pytest.mark.parametrize("body", ["", "{", '{"prompt": nan}', "\ud800", "[" * 100_000])
def test_a_body_that_is_not_json_is_400(cloud: Cloud, body: str) -> None:
    found = refused(cloud, body)
    assert (found.status, found.code) == (400, "malformed_request")
    assert cloud.items("jobs") == []


def test_a_body_that_is_not_base64_is_400(cloud: Cloud) -> None:
    event = {**events.load("http_submit_job"), "body": "%%%", "isBase64Encoded": True}
    assert problem(cloud.call("SubmitJob", event)).status == 400


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "é", "a\tb"])
def test_a_bad_key_is_400(cloud: Cloud, key: str) -> None:
    assert refused(cloud, TEXT, idempotency_key=key).status == 400
    assert cloud.items("jobs") == []


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ([], ["body"]),
        ("null", ["body"]),
        ({}, ["body"]),
        (TEXT | {"workflow": a_graph()}, ["body"]),
        (TEXT | {"cfg": 7.0}, ["body", "cfg"]),
        (TEXT | {"steps": "20"}, ["body", "steps"]),
        (TEXT | {"width": 513}, ["body", "width"]),
        (TEXT | {"seed": -1}, ["body", "seed"]),
        (TEXT | {"priority": "urgent"}, ["body", "priority"]),
        (TEXT | {"metadata": {"k": 1}}, ["body", "metadata", "k"]),
        (TEXT | {"metadata": {"k": "é" * 512}}, ["body", "metadata"]),
        (TEXT | {"webhook_url": "https://example.com"}, ["body", "webhook_url"]),
        ({"workflow": [1]}, ["body", "workflow"]),
        ({"workflow": {}}, ["body", "workflow"]),
        ({"workflow": UI_EXPORT}, ["body", "workflow"]),
        ({"workflow": {"1": 7}}, ["body", "workflow", "1"]),
        (
            {"workflow": {"1": {"class_type": "A", "inputs": {"x": ["9", 0]}}}},
            ["body", "workflow", "1", "inputs", "x"],
        ),
    ],
)
def test_a_wrong_field_is_422_and_named(cloud: Cloud, body: Any, place: list[str]) -> None:
    found = refused(cloud, body)
    assert (found.status, found.code) == (422, "invalid_request")
    assert found.errors is not None
    assert [error.loc for error in found.errors] == [place]
    assert cloud.items("jobs") == []
    assert cloud.tickets() == []


def test_every_wrong_field_is_named_at_once(cloud: Cloud) -> None:
    errors = refused(cloud, TEXT | {"steps": 0, "width": "x"}).errors
    assert errors is not None
    assert {error.loc[-1] for error in errors} == {"steps", "width"}


def test_the_refusal_of_an_editors_file_says_how_to_export_the_right_one(cloud: Cloud) -> None:
    assert "Export (API)" in refused(cloud, {"workflow": UI_EXPORT}).detail


@pytest.mark.parametrize("size", [{"width": 2048, "height": 2048}, {"batch_size": 11}])
def test_an_image_too_large_is_413(cloud: Cloud, size: dict[str, int]) -> None:
    found = refused(cloud, TEXT | size)
    assert (found.status, found.code) == (413, "request_too_large")
    assert cloud.items("jobs") == []


def test_a_body_too_large_is_413(cloud: Cloud) -> None:
    found = refused(cloud, " " * MAX_BODY_BYTES + json.dumps(TEXT))
    assert (found.status, found.code) == (413, "request_too_large")


def test_a_key_used_again_for_another_body_is_refused(cloud: Cloud) -> None:
    assert post(cloud, TEXT, idempotency_key="once")["statusCode"] == 202
    found = refused(cloud, {"prompt": "a blue fox"}, idempotency_key="once")
    assert (found.status, found.code) == (422, "idempotency_key_reused")
    assert found.type == "urn:comfyline:problem:idempotency_key_reused"
    assert len(cloud.tickets()) == 1


# --- out of reach ---------------------------------------------------------------------------------


def unreachable(*_: Any, **__: Any) -> None:
    raise EndpointConnectionError(endpoint_url="https://example.com")


def test_a_store_out_of_reach_is_503(cloud: Cloud) -> None:
    cloud.client("dynamodb").meta.events.register("before-call.dynamodb.PutItem", unreachable)
    answer = post(cloud, TEXT)
    assert problem(answer).status == 503
    assert int(answer["headers"]["retry-after"]) > 0
    assert cloud.tickets() == []


def test_with_the_queue_out_of_reach_a_job_is_accepted(cloud: Cloud) -> None:
    cloud.client("sqs").meta.events.register("before-call.sqs.SendMessage", unreachable)
    answer = post(cloud, TEXT)
    assert answer["statusCode"] == 202
    assert cloud.job(json.loads(answer["body"])["job_id"]).due_at is not None


def test_a_bug_is_a_500_without_details(cloud: Cloud) -> None:
    class Broken:
        def send(self, *_: Any) -> None:
            raise RuntimeError("secret thought")

    event = events.http("http_submit_job", body=TEXT)
    answer = cloud.gateway.altered(queue=Broken()).call("SubmitJob", event)
    assert problem(answer).code == "internal_error"
    assert "secret" not in answer["body"]


# --- measured -------------------------------------------------------------------------------------


def test_the_outcome_of_each_post_is_recorded(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = cloud.gateway.altered(metrics=EmfMetrics("Comfyline/test"))
    for body in (TEXT, TEXT, TEXT | {"steps": 0}, {}):
        event = events.http("http_submit_job", body=body, idempotency_key="one")
        measured.call("SubmitJob", event)
        cloud.clock.advance(1)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ("JobsAccepted", "JobsReplayed", "JobsRefused")
    recorded = [(n, one.get("code"), one[n]) for one in lines for n in names if n in one]
    assert recorded == [
        ("JobsAccepted", None, [1.0]),
        ("JobsReplayed", None, [1.0]),
        ("JobsRefused", "invalid_request", [1.0]),
        ("JobsRefused", "invalid_request", [1.0]),
    ]


def test_without_a_namespace_nothing_is_recorded(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    post(cloud, TEXT)
    assert "CloudWatchMetrics" not in capsys.readouterr().out
