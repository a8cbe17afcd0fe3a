"""Budgets of an owner over HTTP: 429 with `Retry-After` and the name of the budget."""

from __future__ import annotations

from typing import Any

import pytest

from comfyline.contract.v1.openapi import OPERATIONS
from tests.integration.http_api.requests import PICTURE, code, submit
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway, Reply

FILE = {"name": "a.png", "content_type": "image/png", "bytes": 30_000_000}
JOB = "job_00000000000000000000000000"


def refusal(reply: Reply) -> tuple[int, str, str | None]:
    """Status, code and budget."""
    assert int(reply.headers["retry-after"]) > 0
    return (*code(reply), reply.json["budget"])


KEYED = [key for key, operation in OPERATIONS.items() if not operation.is_open]
# Owners are read by several calls each, so a page of the usual length counts as several requests.
QUERIES = {"/api/v1/admin/owners": "?limit=5"}


@pytest.mark.parametrize(("method", "path"), KEYED)
def test_every_route_with_a_key_counts_as_a_request(
    gateway: Gateway, clock: FrozenClock, method: str, path: str
) -> None:
    gateway.caller |= {"requests_per_minute": "1", "scopes": "jobs keys admin"}
    path = path.replace("{job_id}", JOB) + QUERIES.get(path, "")
    first, second = (gateway(method, path, {}) for _ in range(2))
    assert first.status != 429
    assert refusal(second) == (429, "too_many_requests", "requests")
    assert gateway(method, path, {}, owner="another").status != 429
    clock.advance(int(second.headers["retry-after"]))
    assert gateway(method, path, {}).status == first.status


def test_the_functions_of_one_owner_have_one_budget(gateway: Gateway) -> None:
    gateway.caller["requests_per_minute"] = "2"
    replies = [gateway("GET", f"/api/v1/{what}") for what in ("jobs", "models", "usage")]
    assert [reply.status for reply in replies] == [200, 200, 429]


@pytest.mark.parametrize(("limit", "requests"), [(1, 1), (20, 1), (21, 2), (100, 5)])
def test_a_page_counts_as_one_request_for_each_twenty_jobs(
    gateway: Gateway, limit: int, requests: int
) -> None:
    gateway.caller["requests_per_minute"] = str(2 * requests)
    statuses = [gateway("GET", f"/api/v1/jobs?limit={limit}").status for _ in range(3)]
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    ("setting", "value", "budget"),
    [("uploads_per_minute", "3", "uploads"), ("upload_gb_per_day", "1", "upload_bytes")],
)
def test_uploads_are_counted_and_so_are_their_bytes(
    gateway: Gateway, setting: str, value: str, budget: str
) -> None:
    gateway.caller[setting] = value
    replies = [gateway("POST", "/api/v1/uploads", FILE) for _ in range(40)]
    allowed = [reply for reply in replies if reply.status == 201]
    assert len(allowed) == (3 if budget == "uploads" else 33)
    assert refusal(replies[-1]) == (429, "too_many_requests", budget)


def test_an_invalid_upload_counts_nothing(gateway: Gateway) -> None:
    gateway.caller["uploads_per_minute"] = "1"
    assert gateway("POST", "/api/v1/uploads", {**FILE, "bytes": -1}).status == 422
    assert gateway("POST", "/api/v1/uploads", FILE).status == 201


def test_socket_passes_are_counted(gateway: Gateway) -> None:
    gateway.caller["sockets_per_minute"] = "2"
    replies = [gateway("POST", "/api/v1/ws-tickets") for _ in range(3)]
    assert [reply.status for reply in replies] == [201, 201, 429]
    assert refusal(replies[2])[2] == "socket_passes"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_active_jobs": "1"}, ("too_many_jobs", "active_jobs")),
        ({"jobs_per_minute": "1"}, ("too_many_requests", "posts")),
    ],
)
def test_the_refusal_of_a_job_names_its_limit(
    gateway: Gateway, limits: dict[str, Any], expected: tuple[str, str]
) -> None:
    gateway.caller |= limits
    submit(gateway)
    reply = gateway("POST", "/api/v1/jobs", {**PICTURE, "seed": 7})
    assert refusal(reply) == (429, *expected)


def test_other_problems_name_no_budget(gateway: Gateway) -> None:
    assert "budget" not in gateway("GET", f"/api/v1/jobs/{JOB}").json
