"""The switches: read, set, and not set against another operator."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.handlers.conftest import Cloud, read
from tests.support.builders import NOW
from tests.support.gateway import Reply


def put(cloud: Cloud, owner: str = "ops", **body: Any) -> Reply:
    return cloud.gateway("PUT", "/api/v1/admin/switches", body, owner=owner)


def test_all_are_on_at_first(admin: Cloud) -> None:
    assert read(admin, "switches") == {
        "jobs_enabled": True,
        "sockets_enabled": True,
        "version": 0,
        "changed_at": None,
        "changed_by": None,
    }


def test_a_pause_is_stored_with_who_asked_for_it(admin: Cloud) -> None:
    reply = put(admin, jobs_enabled=False, sockets_enabled=True, version=0)
    assert reply.status == 200
    assert reply.json == read(admin, "switches")
    assert (reply.json["jobs_enabled"], reply.json["version"]) == (False, 1)
    assert reply.json["changed_by"] == "ops"
    assert reply.json["changed_at"] == NOW.isoformat().replace("+00:00", "Z")
    assert not admin.keys.flags().jobs_enabled


def test_of_two_operators_the_second_reads_again(admin: Cloud) -> None:
    assert put(admin, jobs_enabled=False, sockets_enabled=True, version=0).status == 200
    late = put(admin, "owl", jobs_enabled=True, sockets_enabled=False, version=0)
    assert (late.status, late.json["code"]) == (409, "switches_changed")
    assert read(admin, "switches")["changed_by"] == "ops"


def test_the_same_request_again_succeeds_because_its_answer_may_be_lost(admin: Cloud) -> None:
    for _ in range(2):
        reply = put(admin, jobs_enabled=False, sockets_enabled=False, version=0)
        assert (reply.status, reply.json["version"]) == (200, 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jobs_enabled": False},
        {"jobs_enabled": "no", "sockets_enabled": True, "version": 0},
        {"jobs_enabled": False, "sockets_enabled": True, "version": -1},
        {"jobs_enabled": False, "sockets_enabled": True, "version": 2**70},
        {"jobs_enabled": False, "sockets_enabled": True, "version": 0, "more": 1},
    ],
)
def test_a_wrong_body_is_refused(admin: Cloud, body: dict[str, Any]) -> None:
    reply = put(admin, **body)
    assert (reply.status, json.loads(reply.text)["code"]) == (422, "invalid_request")
    assert read(admin, "switches")["version"] == 0
