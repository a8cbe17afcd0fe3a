"""GET and DELETE of jobs, and other routes, from the gateway's event to the response."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
import requests

from comfyline.contract.ids import OwnerId, random_job_id
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.lifecycle import advance
from functions import health
from tests.integration.handlers.conftest import Cloud
from tests.integration.handlers.problems import problem
from tests.support import events
from tests.support.builders import (
    NOW,
    a_graph,
    a_job,
    a_result,
    an_artifact,
    an_owner,
    canceled,
    claimed,
    running,
    some_params,
    succeeded,
)

WRONG_IDS = ["", "x", "job_", "job_" + "u" * 26, "job_" + "0" * 27, "../admin", "JOB_" + "0" * 26]


def get(cloud: Cloud, job_id: str, owner: str) -> dict[str, Any]:
    return cloud.call("GetJob", events.http("http_get_job", job_id=job_id, owner=owner))


def delete(cloud: Cloud, job_id: str, owner: str) -> dict[str, Any]:
    return cloud.call("CancelJob", events.http("http_cancel_job", job_id=job_id, owner=owner))


def listed(cloud: Cloud, owner: str, **query: str) -> dict[str, Any]:
    return cloud.call("ListJobs", events.http("http_list_jobs", owner=owner, query=query))


def body_of(answer: dict[str, Any], status: int = 200) -> Any:
    assert answer["statusCode"] == status, answer
    assert answer["headers"]["content-type"] == "application/json"
    return json.loads(answer["body"])


# --- one job --------------------------------------------------------------------------------------


def test_a_job_is_shown_whole(cloud: Cloud) -> None:
    job = a_job()
    cloud.jobs.put_request(job, some_params(), a_graph())
    cloud.has(job)
    shown = body_of(get(cloud, job.id, job.owner))
    expected = {
        "job_id": job.id,
        "status": "queued",
        "progress": 0.0,
        "submitted_by": job.owner,
        "params": some_params().params,
        "metadata": {"project": "foxes"},
        "priority": "normal",
        "result": None,
        "error": None,
        "attempt": 0,
        "interruptions": 0,
        "cached": False,
        "nodes_cached": 0,
        "gpu_seconds": 0.0,
        "version": 1,
    }
    assert shown | expected == shown


def test_an_artifacts_url_fetches_the_file(cloud: Cloud) -> None:
    job = succeeded(a_job())
    artifact = an_artifact(job)
    cloud.artifacts.put(artifact.key, io.BytesIO(b"pixels"), "image/png")
    cloud.jobs.put_result(job, a_result(artifact))
    cloud.has(job)
    (shown,) = body_of(get(cloud, job.id, job.owner))["result"]["artifacts"]
    fetched = requests.get(shown["url"], timeout=5)  # moto answers; nothing leaves the process
    assert (fetched.content, fetched.headers["content-type"]) == (b"pixels", "image/png")
    assert artifact.name in fetched.headers["content-disposition"]
    assert shown["url_expires_at"] == "2026-03-01T12:15:00.123456Z"


def artifacts(cloud: Cloud, job: Job, **query: str) -> dict[str, Any]:
    event = events.http("http_get_job", job_id=job.id, owner=job.owner, query=query)
    return cloud.call("ListArtifacts", event)


def test_the_files_of_a_job_are_listed_in_pages(cloud: Cloud) -> None:
    job = succeeded(a_job())
    cloud.jobs.put_result(job, a_result(*(an_artifact(job, n) for n in range(250))))
    cloud.has(job)
    result = body_of(get(cloud, job.id, job.owner))["result"]
    assert (result["artifacts_total"], result["truncated"]) == (250, True)
    shown, cursor = result["artifacts"], result["next_cursor"]
    first = body_of(artifacts(cloud, job))
    assert [file["number"] for file in first["artifacts"]] == list(range(100))
    assert first["next_cursor"] == cursor
    while cursor is not None:
        page = body_of(artifacts(cloud, job, cursor=cursor, limit="60"))
        assert page["artifacts_total"] == 250
        shown, cursor = [*shown, *page["artifacts"]], page["next_cursor"]
    assert [file["number"] for file in shown] == list(range(250))
    assert [file["name"] for file in shown] == [an_artifact(job, n).name for n in range(250)]


def test_a_job_that_has_not_ended_has_no_files_yet(cloud: Cloud) -> None:
    job = cloud.has(running(a_job()))
    cloud.jobs.list_stored(job, [an_artifact(job)], known=0)
    stored = ev.Stored(attempt=job.attempt, count=1)
    cloud.jobs.save(job, advance(job, stored, NOW))
    page = body_of(artifacts(cloud, job))
    assert page == {
        "job_id": job.id,
        "artifacts": [],
        "artifacts_total": 0,
        "next_cursor": None,
    }


def test_a_page_behind_the_last_file_is_empty(cloud: Cloud) -> None:
    job = cloud.has(succeeded(a_job()))
    cloud.jobs.put_result(job, a_result(an_artifact(job)))
    page = body_of(artifacts(cloud, job, cursor="999999999"))
    assert (page["artifacts"], page["artifacts_total"], page["next_cursor"]) == ([], 1, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "-1"),
        ("cursor", "-1"),
        ("cursor", "x"),
        ("cursor", "1" * 10),
        ("cursor", "٣"),
    ],
)
def test_a_wrong_page_of_files_is_422_and_named(cloud: Cloud, name: str, value: str) -> None:
    job = cloud.has(succeeded(a_job()))
    found = problem(artifacts(cloud, job, **{name: value}))
    assert (found.status, found.code) == (422, "invalid_request")
    assert found.errors is not None
    assert [error.loc for error in found.errors] == [["query", name]]


def files(cloud: Cloud, job_id: str, owner: str) -> dict[str, Any]:
    event = events.http("http_get_job", job_id=job_id, owner=owner)
    return cloud.call("ListArtifacts", event)


def test_reading_a_job_past_its_start_deadline_ends_it(cloud: Cloud, queued: Job) -> None:
    cloud.clock.advance(timedelta(days=1))
    assert body_of(get(cloud, queued.id, queued.owner))["status"] == "expired"
    assert cloud.job(queued.id).status is Status.EXPIRED


@pytest.mark.parametrize("ask", [get, delete, files])
class TestJobNotFound:
    """The answer is 404 for each reason."""

    def test_unknown(self, cloud: Cloud, ask: Any) -> None:
        job_id = random_job_id(NOW)
        found = problem(ask(cloud, job_id, an_owner()))
        assert (found.status, found.code) == (404, "job_not_found")
        assert found.detail == f"There is no job {job_id}."

    def test_another_owners(self, cloud: Cloud, queued: Job, ask: Any) -> None:
        found = problem(ask(cloud, queued.id, an_owner()))
        assert (found.status, found.code) == (404, "job_not_found")
        assert cloud.job(queued.id) == queued

    def test_past_its_retention(self, cloud: Cloud, ask: Any) -> None:
        job = cloud.has(canceled(a_job()))
        cloud.clock.advance(job.retention)
        assert problem(ask(cloud, job.id, job.owner)).status == 404

    @pytest.mark.parametrize("job_id", WRONG_IDS)
    def test_not_a_job_id(self, cloud: Cloud, ask: Any, job_id: str) -> None:
        assert problem(ask(cloud, job_id, an_owner())).status == 404


# --- cancel ---------------------------------------------------------------------------------------


def test_a_waiting_job_is_canceled_at_once(cloud: Cloud, queued: Job) -> None:
    answer = body_of(delete(cloud, queued.id, queued.owner), 202)
    assert (answer["job_id"], answer["status"]) == (queued.id, "canceled")
    assert answer["message"]
    assert cloud.job(queued.id).status is Status.CANCELED


@pytest.mark.parametrize("held", [claimed, running])
def test_a_claimed_job_is_canceling(cloud: Cloud, held: Any) -> None:
    job = cloud.has(held(a_job()))
    for _ in range(2):
        assert body_of(delete(cloud, job.id, job.owner), 202)["status"] == "canceling"
    assert cloud.job(job.id).cancel_requested_at == cloud.clock()
    assert body_of(get(cloud, job.id, job.owner))["status"] == "canceling"


def test_an_ended_job_stays_as_it_is(cloud: Cloud) -> None:
    job = cloud.has(succeeded(a_job()))
    assert body_of(delete(cloud, job.id, job.owner), 202)["status"] == "succeeded"
    assert cloud.job(job.id) == job


# --- many jobs ------------------------------------------------------------------------------------


def some_jobs(cloud: Cloud, owner: OwnerId, count: int) -> list[str]:
    """Newest first."""
    times = [NOW - timedelta(seconds=n) for n in range(count)]
    return [cloud.has(a_job(owner=owner, queued_at=time)).id for time in times]


def test_pages_list_each_job_once_newest_first(cloud: Cloud) -> None:
    owner, found, query = an_owner(), [], {"limit": "2"}
    expected = some_jobs(cloud, owner, 5)
    cloud.has(a_job())
    for _ in range(4):
        page = body_of(listed(cloud, owner, **query))
        found += [job["job_id"] for job in page["jobs"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == expected


def test_a_list_is_filtered_by_status(cloud: Cloud) -> None:
    owner = an_owner()
    some_jobs(cloud, owner, 2)
    ended = cloud.has(canceled(a_job(owner=owner)))
    page = body_of(listed(cloud, owner, status="canceled"))
    assert [job["job_id"] for job in page["jobs"]] == [ended.id]
    assert page["jobs"][0]["result"] is None


def test_a_list_without_a_query_is_the_first_page(cloud: Cloud) -> None:
    event = events.load("http_list_jobs")
    del event["queryStringParameters"]  # as the gateway sends it where the URL has no query
    assert body_of(cloud.call("ListJobs", event)) == {"jobs": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "ten"),
        ("limit", "1,2"),  # what the gateway makes of ?limit=1&limit=2
        ("status", "canceling"),
        ("status", "QUEUED"),
        ("cursor", "nonsense"),
        ("cursor", "é"),
        ("cursor", "WyJ4IiwgInkiXQ"),
    ],
)
def test_a_wrong_query_is_422_and_named(cloud: Cloud, name: str, value: str) -> None:
    found = problem(listed(cloud, an_owner(), **{name: value}))
    assert (found.status, found.code) == (422, "invalid_request")
    assert found.errors is not None
    assert [error.loc for error in found.errors] == [["query", name]]


# --- around the jobs ------------------------------------------------------------------------------


def test_health_needs_neither_key_nor_settings() -> None:
    assert body_of(health.handler(events.load("http_health"), None)) == {"status": "ok"}


@pytest.mark.parametrize(
    ("path", "status", "allow"),
    [
        ("/api/v1/jobs", 405, "GET, POST"),
        ("/api/v1/jobs/job_x", 405, "DELETE, GET"),
        ("/healthz", 405, "GET"),
        ("/healthz/", 404, None),
        ("/api/v1/jobs/a/b", 404, None),
        ("/api/v1/jobs\n", 404, None),
        ("/", 405, "GET"),
        ("/api/v1/(.*)", 404, None),
    ],
)
def test_a_request_that_no_route_matches_is_a_problem(
    cloud: Cloud, path: str, status: int, allow: str | None
) -> None:
    answer = cloud.call("UnknownRoute", events.load("http_unknown_route") | {"rawPath": path})
    found = problem(answer)
    code = {404: "route_not_found", 405: "method_not_allowed"}[status]
    assert (found.status, found.code) == (status, code)
    assert answer["headers"].get("allow") == allow
