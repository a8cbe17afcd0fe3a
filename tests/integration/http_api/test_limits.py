"""Caps, rates, scopes, the operator's switch, and the totals of jobs."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from comfyline.contract.v1.openapi import OPERATIONS
from tests.integration.http_api.requests import (
    KEY,
    PICTURE,
    code,
    submit,
    view,
)
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway
from tests.support.worker_by_hand import Worker

# Any valid key may ask who it is.
NEED_A_SCOPE = [r for r, o in OPERATIONS.items() if not o.is_open and r[1] != "/api/v1/me"]


class TestLimits:
    def test_a_cap_is_exact_and_a_jobs_end_frees_a_slot(
        self, gateway: Gateway, worker: Worker
    ) -> None:
        gateway.caller["max_active_jobs"] = "2"
        for _ in range(2):
            submit(gateway)
        refused = gateway("POST", "/api/v1/jobs", PICTURE)
        assert code(refused) == (429, "too_many_jobs")
        assert int(refused.headers["retry-after"]) > 0
        worker.work()
        submit(gateway)
        assert gateway("POST", "/api/v1/jobs", PICTURE).status == 429

    def test_a_post_frees_the_slot_of_a_canceled_job_itself(self, gateway: Gateway) -> None:
        gateway.caller["max_active_jobs"] = "1"
        job_id = submit(gateway)
        gateway("DELETE", f"/api/v1/jobs/{job_id}")
        submit(gateway)

    def test_a_replay_is_answered_though_no_slot_is_free(self, gateway: Gateway) -> None:
        gateway.caller["max_active_jobs"] = "1"
        job_id = submit(gateway, **KEY)
        assert submit(gateway, **KEY) == job_id
        gateway.caller["jobs_per_minute"] = "1"
        assert submit(gateway, **KEY) == job_id

    def test_a_rate_is_exact(self, gateway: Gateway, clock: FrozenClock) -> None:
        gateway.caller["jobs_per_minute"] = "2"
        for _ in range(2):
            submit(gateway)
        refused = gateway("POST", "/api/v1/jobs", PICTURE)
        assert code(refused) == (429, "too_many_requests")
        clock.advance(int(refused.headers["retry-after"]))
        submit(gateway)

    def test_a_replay_of_an_ended_job_takes_no_slot(self, gateway: Gateway, worker: Worker) -> None:
        gateway.caller["max_active_jobs"] = "1"
        submit(gateway, **KEY)
        worker.work()
        submit(gateway, **KEY)
        submit(gateway)

    def test_an_owner_reads_its_totals(self, gateway: Gateway, worker: Worker) -> None:
        for _ in range(2):
            submit(gateway)
            ended = worker.work(gpu_seconds=1.25)
            assert ended is not None
            gateway.aws.ledger.count([ended, ended])
        usage = gateway("GET", "/api/v1/usage").json
        assert usage == {"owner": "fox", "gpu_seconds": 2.5, "jobs": 2, "months": None}

    def test_an_owner_reads_the_last_twelve_months(
        self, gateway: Gateway, worker: Worker, clock: FrozenClock
    ) -> None:
        for _ in range(2):
            submit(gateway)
            ended = worker.work(gpu_seconds=1.25)
            assert ended is not None
            gateway.aws.ledger.count([ended])
            clock.advance(31 * 24 * 3600)
        usage = gateway("GET", "/api/v1/usage?by=month").json
        months = {month["month"]: month["gpu_seconds"] for month in usage["months"]}
        assert [*months][0::11] == ["2025-06", "2026-05"]
        assert {month: used for month, used in months.items() if used} == {
            "2026-03": 1.25,
            "2026-04": 1.25,
        }
        assert (usage["gpu_seconds"], usage["jobs"]) == (2.5, 2)
        assert gateway("GET", "/api/v1/usage?by=day").status == 422


class TestMetrics:
    def test_only_an_admin_reads_the_totals_of_all_owners(
        self, gateway: Gateway, worker: Worker
    ) -> None:
        refused = gateway("GET", "/metrics")
        assert code(refused) == (403, "forbidden")
        for owner in ("fox", "wolf"):
            gateway("POST", "/api/v1/jobs", PICTURE, owner=owner)
            ended = worker.work(gpu_seconds=1.25)
            assert ended is not None
            gateway.aws.ledger.count([ended])
        gateway.caller["scopes"] = "admin"
        reply = gateway("GET", "/metrics")
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'comfyui_jobs_total{status="succeeded"} 2.0' in reply.text
        assert "comfyui_gpu_seconds_total 2.5" in reply.text
        assert 'comfyui_queue_depth{priority="normal"} 0.0' in reply.text
        assert "comfyui_active_workers 0.0" in reply.text


class TestSwitches:
    def test_a_paused_service_accepts_no_job_and_shows_every_job(self, gateway: Gateway) -> None:
        job_id = submit(gateway)
        gateway.caller["jobs_enabled"] = "false"
        for path in ("/api/v1/jobs", "/api/v1/generate", f"/api/v1/jobs/{job_id}/retry"):
            reply = gateway("POST", path, PICTURE)
            assert code(reply) == (503, "jobs_disabled")
            assert int(reply.headers["retry-after"]) > 0
        assert view(gateway, job_id).status == "queued"

    def test_with_the_store_out_of_reach_a_post_is_503(self, gateway: Gateway) -> None:
        submit(gateway)
        gateway.aws.client("dynamodb").meta.events.register("before-call", _throttled)
        reply = gateway("POST", "/api/v1/jobs", PICTURE)
        assert code(reply) == (503, "unavailable")
        assert int(reply.headers["retry-after"]) > 0

    def test_with_the_queue_out_of_reach_a_post_is_202(
        self, gateway: Gateway, clock: FrozenClock
    ) -> None:
        submit(gateway)
        gateway.aws.client("sqs").meta.events.register("before-call", _throttled)
        job_id = submit(gateway, {"prompt": "sent later"})
        gateway.aws.client("sqs").meta.events.unregister("before-call", _throttled)
        clock.advance(31)
        assert gateway.call("SweepJobs", {})["TicketResent"] >= 1
        worker = Worker(gateway)
        assert job_id in {str(job.id) for job in iter(worker.work, None)}

    @pytest.mark.parametrize("route", NEED_A_SCOPE)
    def test_a_key_without_the_scope_is_refused(
        self, gateway: Gateway, route: tuple[str, str]
    ) -> None:
        gateway.caller["scopes"] = "other"
        path = route[1].replace("{job_id}", "job_" + "0" * 26)
        assert code(gateway(route[0], path, {})) == (403, "forbidden")


def _throttled(**_: Any) -> None:
    raise EndpointConnectionError(endpoint_url="https://aws")
