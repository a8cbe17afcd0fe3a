"""What an operator sees of failures."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from comfyline.contract.ids import OwnerId
from comfyline.contract.v1.failures import FailureList
from comfyline.service.jobs.job import JobError
from tests.integration.handlers.conftest import Cloud
from tests.support.builders import NOW, a_job, failed

DAY = timedelta(days=1)
HOSTILE = JobError(type="node_error", message="secret", node_type="\x1b[2J<b>\u202e")


@pytest.fixture
def admin(cloud: Cloud) -> Cloud:
    """The same, called by an operator."""
    gateway = replace(cloud.gateway, caller={"scopes": "admin", "key_id": "k"}, made={})
    return replace(cloud, gateway=gateway)


def fails(cloud: Cloud, error: JobError, owner: str = "fox", days: int = 0) -> str:
    job = replace(failed(a_job(owner=OwnerId(owner)), error), finished_at=NOW - days * DAY)
    cloud.gateway.aws.ledger.count([job])
    return job.id


def errors(cloud: Cloud, query: str = "") -> FailureList:
    reply = cloud.gateway("GET", f"/api/v1/admin/errors{query}")
    assert reply.status == 200, reply.text
    assert "secret" not in reply.text
    return FailureList.model_validate_json(reply.text)


def test_failures_of_all_owners_are_grouped(admin: Cloud) -> None:
    lost = JobError(type="engine_lost", message="secret", engine_version="e1")
    jobs = [fails(admin, lost, owner) for owner in ("fox", "owl", "fox")]
    fails(admin, HOSTILE, days=3)
    found = errors(admin)
    assert (found.days, found.jobs, found.groups_total) == (7, 4, 2)
    often, rare = found.groups
    assert (often.type, often.node_type, often.engine_version) == ("engine_lost", None, "e1")
    assert {sample.job_id for sample in often.samples} <= set(jobs)
    assert (rare.node_type, rare.jobs) == ("?[2J<b>?", 1)
    assert errors(admin, "?days=3").jobs == 3
    assert errors(admin, "?days=4").jobs == 4


@pytest.mark.parametrize("days", ["0", "31", "-1", "x", "", "1e1"])
def test_wrong_days_are_refused(admin: Cloud, days: str) -> None:
    assert admin.gateway("GET", f"/api/v1/admin/errors?days={days}").status == 422


@pytest.mark.parametrize(
    "cursor", ["", "x" * 101, "x" * 5_000, "%C3%A9", "a%20b", "%00", "%F0%9F%A6%8A"]
)
def test_a_cursor_that_no_page_has_given_is_refused(admin: Cloud, cursor: str) -> None:
    assert admin.gateway("GET", f"/api/v1/admin/keys?cursor={cursor}").status == 422


def test_other_callers_learn_nothing(cloud: Cloud) -> None:
    fails(cloud, HOSTILE)
    reply: Any = cloud.gateway("GET", "/api/v1/admin/errors")
    assert (reply.status, reply.json["code"]) == (403, "forbidden")
