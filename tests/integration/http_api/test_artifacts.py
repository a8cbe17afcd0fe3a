"""The address of one file: a redirect to a fresh URL, or the URL itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from comfyline.contract.ids import JobId
from tests.integration.http_api.requests import code, submit
from tests.support.builders import a_result, an_artifact, running, succeeded
from tests.support.gateway import Gateway

JSON = {"Accept": "application/json"}


def ended(gateway: Gateway, **about: Any) -> str:
    """The path of the first file of a job with one file."""
    job = gateway.aws.jobs.get(JobId(submit(gateway)))
    assert job is not None
    ran = running(job, now=job.queued_at)
    gateway.aws.jobs.put_result(ran, a_result(replace(an_artifact(ran), **about)))
    done = replace(succeeded(job, now=job.queued_at), stored=1)
    return f"/api/v1/jobs/{gateway.aws.jobs.save(job, done).id}"


def query_of(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


@pytest.mark.parametrize("accept", [None, "*/*", "image/avif,image/*,*/*;q=0.8", "text/html"])
def test_a_redirect_to_a_fresh_url(gateway: Gateway, accept: str | None) -> None:
    path = ended(gateway)
    reply = gateway("GET", f"{path}/artifacts/0", headers={"Accept": accept} if accept else {})
    assert (reply.status, reply.text) == (302, "")
    assert reply.headers["cache-control"] == "private, no-store"
    query = query_of(reply.headers["location"])
    assert query["response-content-disposition"][0].startswith("attachment; filename=")
    assert query["X-Amz-Expires"] == ["900"]
    assert "response-content-type" not in query


@pytest.mark.parametrize("accept", ["application/json", "Application/JSON;q=0.9, */*;q=0.1"])
def test_the_url_itself_as_json(gateway: Gateway, accept: str) -> None:
    path = ended(gateway)
    reply = gateway("GET", f"{path}/artifacts/0", headers={"Accept": accept})
    assert reply.status == 200
    assert reply.headers["cache-control"] == "private, no-store"
    assert reply.json["url"].split("?")[0].endswith("0_image.png")
    assert reply.json["url_expires_at"] > "2026"


def test_head_is_signed_for_head(gateway: Gateway) -> None:
    path = f"{ended(gateway)}/artifacts/0"
    get, head = (gateway(method, path).headers["location"] for method in ("GET", "HEAD"))
    signatures = [query_of(url)["X-Amz-Signature"] for url in (get, head)]
    assert signatures[0] != signatures[1]  # S3 signs the method too


def test_only_some_types_are_shown_in_a_page(gateway: Gateway) -> None:
    shown = gateway("GET", f"{ended(gateway)}/artifacts/0?disposition=inline")
    query = query_of(shown.headers["location"])
    assert query["response-content-disposition"][0].startswith("inline; filename=")
    assert query["response-content-type"] == ["image/png"]
    for kind in ("image/svg+xml", "text/html", "application/octet-stream", "image/png;x"):
        path = ended(gateway, content_type=kind)
        refused = gateway("GET", f"{path}/artifacts/0?disposition=inline")
        assert code(refused) == (422, "invalid_request")
        assert refused.json["errors"][0]["loc"] == ["query", "disposition"]
        assert gateway("GET", f"{path}/artifacts/0").status == 302


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("1", (404, "artifact_not_found")),
        ("-1", (404, "artifact_not_found")),
        ("1e3", (404, "artifact_not_found")),
        ("\u0661", (404, "artifact_not_found")),
        ("9999999999", (404, "artifact_not_found")),
        ("0?w=0", (422, "invalid_request")),
        ("0?w=511", (422, "invalid_request")),
        ("0?disposition=INLINE", (422, "invalid_request")),
        ("0?disposition=", (422, "invalid_request")),
    ],
)
def test_a_bad_request_is_refused(gateway: Gateway, rest: str, expected: tuple[int, str]) -> None:
    assert code(gateway("GET", f"{ended(gateway)}/artifacts/{rest}")) == expected


def test_a_job_that_has_not_ended_has_no_file(gateway: Gateway) -> None:
    reply = gateway("GET", f"/api/v1/jobs/{submit(gateway)}/artifacts/0")
    assert code(reply) == (404, "artifact_not_found")
    assert "has not ended" in reply.json["detail"]


def test_another_owners_file_is_unknown(gateway: Gateway) -> None:
    path = f"{ended(gateway)}/artifacts/0"
    for headers in ({}, JSON):
        reply = gateway("GET", path, headers=headers, owner="another")
        assert code(reply) == (404, "job_not_found")


def test_a_file_without_a_thumbnail_is_answered_itself(gateway: Gateway) -> None:
    path = f"{ended(gateway)}/artifacts/0"
    small, whole = (gateway("GET", path + q).headers["location"] for q in ("?w=512", ""))
    assert urlsplit(small).path == urlsplit(whole).path


def test_a_thumbnail_is_answered_where_it_was_made(gateway: Gateway) -> None:
    path = ended(gateway, name="fox.png")
    job = gateway.aws.jobs.get(JobId(path.rpartition("/")[2]))
    assert job is not None
    gateway.aws.jobs.put_thumbnails(job, (0,))
    small = urlsplit(gateway("GET", f"{path}/artifacts/0?w=512").headers["location"])
    assert small.path.endswith("/thumbs/0.webp")
    assert "fox.webp" in parse_qs(small.query)["response-content-disposition"][0]
    whole = gateway("GET", f"{path}/artifacts/0").headers["location"]
    assert urlsplit(whole).path.endswith("0_image.png")
    assert code(gateway("GET", f"{path}/artifacts/1?w=512")) == (404, "artifact_not_found")


def test_jobs_and_lists_name_the_thumbnail_of_the_first_picture(gateway: Gateway) -> None:
    path = ended(gateway)
    job = gateway.aws.jobs.get(JobId(path.rpartition("/")[2]))
    assert job is not None
    assert [view["thumbnail"] for view in _views(gateway, path)] == [None, None]
    gateway.aws.jobs.put_thumbnails(job, (2, 1))
    for view in _views(gateway, path):
        url = urlsplit(view["thumbnail"]["url"])
        assert url.path.endswith("/thumbs/1.webp")
        assert parse_qs(url.query)["response-content-type"] == ["image/webp"]
        assert view["thumbnail"]["url_expires_at"] > "2026"
        assert view["artifacts_total"] == 1


def _views(gateway: Gateway, path: str) -> list[dict[str, Any]]:
    """The job, alone and as a list shows it."""
    return [gateway("GET", path).json, gateway("GET", "/api/v1/jobs").json["jobs"][0]]
