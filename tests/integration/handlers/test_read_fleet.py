"""What an operator sees of workers, queues and live jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.alarms import InMemoryAlarms
from comfyline.contract.ids import OwnerId, WorkerId, random_worker_id
from comfyline.service.admin.alarms import Alarm, AlarmState
from comfyline.service.fleet.capacity import Sizes
from comfyline.service.fleet.scaling import Reason, ScalerView
from comfyline.service.fleet.workers import HeldJob, Presence, Recent, WorkerFacts
from comfyline.service.jobs.job import Job, Lease, Status
from comfyline.service.queue.lanes import Priority
from tests.integration.handlers.conftest import Cloud, read
from tests.support.builders import NOW, a_job, canceled

MINUTE = timedelta(minutes=1)


def live(cloud: Cloud, owner: str = "fox", **values: Any) -> Job:
    return cloud.has(a_job(owner=OwnerId(owner), due_at=NOW + MINUTE, **values))


def held(cloud: Cloud, worker: WorkerId, **values: Any) -> Job:
    lease = Lease(worker, NOW + MINUTE)
    running = {"status": Status.RUNNING, "attempt": 1, "attempt_started_at": NOW}
    return live(cloud, lease=lease, **{**running, **values})


class TestWorkers:
    def test_each_is_shown_with_what_it_does(self, admin: Cloud) -> None:
        job = a_job()
        busy = Presence(
            random_worker_id(),
            1,
            NOW + MINUTE,
            held_jobs=1,
            jobs=(HeldJob(job.id, job.owner),),
            checkpoint="sdxl.safetensors",
            facts=WorkerFacts(gpu="L4", gpu_memory_bytes=24, capacity="spot", zone="a"),
        )
        ill = Presence(random_worker_id(), 0, NOW + MINUTE, "the disk is full")
        gone = Presence(random_worker_id(), 0, NOW)
        for report in (busy, ill, gone):
            admin.gateway.aws.presence.put(report)
        answer = read(admin, "workers")
        first, second = answer["workers"]
        assert answer["workers_total"] == 2
        assert (first["state"], first["reason"]) == ("unhealthy", "the disk is full")
        assert (second["state"], second["checkpoint"]) == ("running", "sdxl.safetensors")
        assert second["jobs"] == [{"job_id": job.id, "owner": job.owner}]
        assert (second["gpu"], second["capacity"], second["image"]) == ("L4", "spot", None)
        assert second["reported_at"] == NOW.isoformat().replace("+00:00", "Z")

    def test_what_a_worker_says_is_cleaned(self, admin: Cloud) -> None:
        report = Presence(
            random_worker_id(), 0, NOW + MINUTE, "\x1b[31m\u202eevil", checkpoint="a\r\nb"
        )
        admin.gateway.aws.presence.put(report)
        (shown,) = read(admin, "workers")["workers"]
        assert (shown["reason"], shown["checkpoint"]) == ("?[31m?evil", "a b")


class TestQueues:
    def test_an_empty_service(self, admin: Cloud) -> None:
        answer = read(admin, "queues")
        (pool,) = answer["pools"]
        assert [lane["lane"] for lane in pool["lanes"]] == ["high", "normal", "low"]
        assert {lane["oldest_waiting_since"] for lane in pool["lanes"]} == {None}
        assert (pool["knows_oldest"], pool["scaler"]) == (True, None)
        nothing = {"waiting": 0, "in_flight": 0}
        assert answer["dead_letters"] == answer["parked_settlements"] == nothing

    def test_what_waits_and_since_when(self, admin: Cloud) -> None:
        queue = admin.gateway.aws.queue
        for minutes in (3, 8, 5):
            job = live(admin, priority=Priority.LOW, queued_at=NOW - minutes * MINUTE)
            queue.send(job.id, job.owner, job.priority)
        held(admin, random_worker_id(), priority=Priority.LOW, queued_at=NOW - 60 * MINUTE)
        sqs, urls = admin.client("sqs"), admin.gateway.environ
        sqs.send_message(QueueUrl=urls["DEAD_LETTER_QUEUE_URL"], MessageBody="x")
        sqs.send_message(QueueUrl=urls["PARKING_QUEUE_URL"], MessageBody="x", DelaySeconds=60)
        answer = read(admin, "queues")
        low = answer["pools"][0]["lanes"][2]
        assert (low["waiting"], low["in_flight"]) == (3, 0)
        oldest = (NOW - 8 * MINUTE).isoformat().replace("+00:00", "Z")
        assert low["oldest_waiting_since"] == oldest
        assert answer["dead_letters"]["waiting"] == answer["parked_settlements"]["waiting"] == 1

    def test_what_the_scaler_does(self, admin: Cloud) -> None:
        view = ScalerView(
            since=NOW,
            waiting=3,
            in_flight=1,
            ready=1,
            asked=Sizes(1, 2),
            running=Sizes(1, 0),
            reason=Reason.BACKLOG,
        )
        admin.gateway.aws.scaling_memory.save(Recent(view=view))
        scaler = read(admin, "queues")["pools"][0]["scaler"]
        assert scaler["reason"] == "backlog"
        assert scaler["asked"] == {"ondemand": 1, "spot": 2}
        assert scaler["running"] == {"ondemand": 1, "spot": 0}


class TestJobs:
    def test_jobs_of_all_owners_that_have_not_ended(self, admin: Cloud) -> None:
        worker = random_worker_id()
        running, waiting = held(admin, worker, owner="fox"), live(admin, "owl")
        ended = live(admin, "cat")
        admin.jobs.save(ended, canceled(ended))
        found = {job["job_id"]: job for job in read(admin, "jobs")["jobs"]}
        assert found.keys() == {running.id, waiting.id}
        assert found[running.id]["worker_id"] == worker
        assert (found[running.id]["status"], found[running.id]["attempt"]) == ("running", 1)
        assert (found[waiting.id]["owner"], found[waiting.id]["worker_id"]) == ("owl", None)

    def test_pages_and_a_filter(self, admin: Cloud) -> None:
        made = {live(admin).id for _ in range(5)}
        running = {held(admin, random_worker_id()).id for _ in range(2)}
        found, path = list[str](), "jobs?limit=3"
        while path:
            page = read(admin, path)
            found += [job["job_id"] for job in page["jobs"]]
            path = f"jobs?limit=3&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        assert sorted(found) == sorted(made | running)
        filtered = read(admin, "jobs?status=running&limit=1")
        assert filtered["jobs"][0]["job_id"] in running
        rest = read(admin, f"jobs?status=running&cursor={filtered['next_cursor']}")
        assert len(rest["jobs"]) == 1
        assert rest["next_cursor"] is None

    @pytest.mark.parametrize(
        "query", ["status=failed", "status=", "limit=0", "limit=x", "cursor=x", "cursor=%00"]
    )
    def test_a_wrong_query_is_refused(self, admin: Cloud, query: str) -> None:
        reply = admin.gateway("GET", f"/api/v1/admin/jobs?{query}")
        assert (reply.status, json.loads(reply.text)["code"]) == (422, "invalid_request")


class TestAlarms:
    def test_a_deployment_without_alarms_says_so(self, admin: Cloud) -> None:
        assert read(admin, "alarms") == {"stage": "test", "watched": False, "alarms": []}

    def test_raised_alarms_come_first(self, admin: Cloud) -> None:
        alarms = InMemoryAlarms()
        for name, state in (("a", AlarmState.OK), ("b", AlarmState.RAISED)):
            alarms.all.append(Alarm(name, "It rings.\x1b[31m", state, NOW))
        environ = {**admin.gateway.environ, "ALARM_PREFIX": "comfyline-test"}
        watched = replace(admin.gateway.altered(alarms=alarms), environ=environ)
        answer = read(replace(admin, gateway=watched), "alarms")
        assert [(each["name"], each["state"]) for each in answer["alarms"]] == [
            ("b", "raised"),
            ("a", "ok"),
        ]
        assert (answer["watched"], answer["alarms"][0]["description"]) == (True, "It rings.?[31m")
