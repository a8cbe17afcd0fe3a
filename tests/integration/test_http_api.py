"""The handlers on their tables, queues and bucket, called as the gateway calls them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from comfyline.adapters.memory.live import InMemorySockets
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.contract.ids import ConnectionId, JobId, OwnerId
from comfyline.contract.v1 import responses
from comfyline.contract.v1.openapi import OPERATIONS
from comfyline.service.access.authenticate import create_key, disable_key
from comfyline.service.files.uploads import UPLOAD_LIFETIME
from comfyline.service.jobs.job import artifact_key
from comfyline.service.live.sockets import Connection
from comfyline.service.metrics import Metric
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway, Reply
from tests.support.worker_by_hand import Worker

PICTURE = {"prompt": "a red fox"}
KEY = {"Idempotency-Key": "once"}
EMPTY_IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
GRAPH = {"1": EMPTY_IMAGE, "2": SAVE}
LOADING = {"1": {"class_type": "LoadImage", "inputs": {"image": "none"}}, "2": SAVE}


def code(reply: Reply) -> tuple[int, str]:
    problem = responses.Problem.model_validate_json(reply.text)
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem.status == reply.status
    return reply.status, problem.code


def submit(gateway: Gateway, body: Any = PICTURE, **headers: str) -> str:
    reply = gateway("POST", "/api/v1/jobs", body, headers=headers)
    assert reply.status == 202, reply.text
    return str(reply.json["job_id"])


def view(gateway: Gateway, job_id: str) -> responses.JobView:
    reply = gateway("GET", f"/api/v1/jobs/{job_id}")
    assert reply.status == 200, reply.text
    return responses.JobView.model_validate_json(reply.text)


class Calls:
    """The AWS calls that are made while it counts."""

    def __init__(self, gateway: Gateway) -> None:
        self.counted: Counter[str] = Counter()
        for service in ("dynamodb", "sqs", "s3"):
            gateway.aws.client(service).meta.events.register("before-call", self._count)

    def _count(self, model: Any, **_: Any) -> None:
        self.counted[model.name] += 1


class TestIdempotency:
    def test_a_replay_is_the_same_job_and_says_so(self, gateway: Gateway) -> None:
        first, second = (gateway("POST", "/api/v1/jobs", PICTURE, headers=KEY) for _ in range(2))
        assert (first.status, second.status) == (202, 202)
        assert first.json == second.json
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"
        assert second.headers["location"] == second.json["location"]

    def test_another_body_is_a_problem_of_its_own(self, gateway: Gateway) -> None:
        submit(gateway, **KEY)
        reply = gateway("POST", "/api/v1/jobs", {"prompt": "a blue fox"}, headers=KEY)
        assert code(reply) == (422, "idempotency_key_reused")
        assert reply.json["type"] == "urn:comfyline:problem:idempotency_key_reused"

    def test_owners_are_apart(self, gateway: Gateway) -> None:
        one = gateway("POST", "/api/v1/jobs", PICTURE, headers=KEY)
        other = gateway("POST", "/api/v1/jobs", PICTURE, headers=KEY, owner="wolf")
        assert one.json["job_id"] != other.json["job_id"]
        assert "idempotent-replayed" not in other.headers

    def test_a_quoted_key_is_the_same_key(self, gateway: Gateway) -> None:
        ids = {submit(gateway, **{"Idempotency-Key": key}) for key in ("abc", '"abc"')}
        assert len(ids) == 1

    @pytest.mark.parametrize("key", ["", " ", "x" * 256, "ü", "a\tb"])
    def test_a_malformed_key(self, gateway: Gateway, key: str) -> None:
        reply = gateway("POST", "/api/v1/jobs", PICTURE, headers={"Idempotency-Key": key})
        assert code(reply) == (400, "malformed_request")

    def test_a_replay_costs_two_writes_and_no_read(self, gateway: Gateway) -> None:
        submit(gateway, **KEY)
        calls = Calls(gateway)
        submit(gateway, **KEY)
        assert calls.counted == {"BatchWriteItem": 1, "PutItem": 1}

    def test_a_submission_costs_two_writes_and_a_send(self, gateway: Gateway) -> None:
        submit(gateway)
        calls = Calls(gateway)
        submit(gateway)
        assert calls.counted == {"BatchWriteItem": 1, "PutItem": 1, "SendMessage": 1}

    def test_a_replay_after_the_job_expired_past_its_retention_is_a_new_job(
        self, gateway: Gateway, clock: FrozenClock
    ) -> None:
        job_id = submit(gateway, **KEY)
        gateway("DELETE", f"/api/v1/jobs/{job_id}")
        clock.advance(timedelta(days=8))
        assert code(gateway("GET", f"/api/v1/jobs/{job_id}")) == (404, "job_not_found")
        again = gateway("POST", "/api/v1/jobs", {"prompt": "another"}, headers=KEY)
        assert (again.status, again.json["job_id"]) == (202, job_id)
        assert "idempotent-replayed" not in again.headers
        assert view(gateway, job_id).params["prompt"] == "another"


class TestReuse:
    SEEDED: ClassVar = {"prompt": "a red fox", "seed": 7}

    def test_an_explicit_seed_is_reused_and_a_drawn_one_is_not(self, gateway: Gateway) -> None:
        assert submit(gateway, self.SEEDED) == submit(gateway, self.SEEDED)
        assert submit(gateway, PICTURE) != submit(gateway, PICTURE)
        apart = {**self.SEEDED, "reuse": False}
        assert submit(gateway, apart) != submit(gateway, apart)

    def test_a_workflow_is_reused_on_demand(self, gateway: Gateway) -> None:
        asked = {"workflow": GRAPH, "reuse": True}
        assert submit(gateway, asked) == submit(gateway, asked)
        assert submit(gateway, {"workflow": GRAPH}) != submit(gateway, {"workflow": GRAPH})

    def test_what_failed_is_not_reused(self, gateway: Gateway, worker: Worker) -> None:
        ids = []
        for _ in range(3):
            ids.append(submit(gateway, self.SEEDED))
            worker.work(fails=True)
        assert len(set(ids)) == 3
        last = submit(gateway, self.SEEDED)
        worker.work()
        assert submit(gateway, self.SEEDED) == last

    def test_a_key_comes_before_reuse(self, gateway: Gateway) -> None:
        ids = {submit(gateway, self.SEEDED, **{"Idempotency-Key": k}) for k in ("a", "b")}
        assert len(ids) == 2


class TestLimits:
    def test_a_cap_is_exact_and_an_end_makes_room(self, gateway: Gateway, worker: Worker) -> None:
        gateway.caller["max_active_jobs"] = "2"
        for _ in range(2):
            submit(gateway)
        refused = gateway("POST", "/api/v1/jobs", PICTURE)
        assert code(refused) == (429, "too_many_jobs")
        assert int(refused.headers["retry-after"]) > 0
        worker.work()
        submit(gateway)
        assert gateway("POST", "/api/v1/jobs", PICTURE).status == 429

    def test_a_canceled_job_makes_room_though_no_one_told(self, gateway: Gateway) -> None:
        gateway.caller["max_active_jobs"] = "1"
        job_id = submit(gateway)
        gateway("DELETE", f"/api/v1/jobs/{job_id}")
        submit(gateway)

    def test_a_replay_comes_before_the_refusal(self, gateway: Gateway) -> None:
        gateway.caller["max_active_jobs"] = "1"
        job_id = submit(gateway, **KEY)
        assert submit(gateway, **KEY) == job_id
        gateway.caller["jobs_per_minute"] = "1"
        assert submit(gateway, **KEY) == job_id

    def test_a_rate(self, gateway: Gateway, clock: FrozenClock) -> None:
        gateway.caller["jobs_per_minute"] = "2"
        for _ in range(2):
            submit(gateway)
        refused = gateway("POST", "/api/v1/jobs", PICTURE)
        assert code(refused) == (429, "too_many_requests")
        clock.advance(int(refused.headers["retry-after"]))
        submit(gateway)

    def test_a_replay_of_an_ended_job_holds_no_slot(self, gateway: Gateway, worker: Worker) -> None:
        gateway.caller["max_active_jobs"] = "1"
        submit(gateway, **KEY)
        worker.work()
        submit(gateway, **KEY)
        submit(gateway)

    def test_totals_of_an_owner(self, gateway: Gateway, worker: Worker) -> None:
        for _ in range(2):
            submit(gateway)
            ended = worker.work(gpu_seconds=1.25)
            assert ended is not None
            gateway.aws.ledger.count([ended, ended])
        usage = gateway("GET", "/api/v1/usage").json
        assert usage == {"owner": "fox", "gpu_seconds": 2.5, "jobs": 2}


class TestMetrics:
    def test_everybodys_work_is_shown_to_an_admin_alone(
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


class TestWaiting:
    def test_an_ended_job_is_answered_whole(self, gateway: Gateway, worker: Worker) -> None:
        submit(gateway, **KEY)
        worker.work()
        headers = {**KEY, "Prefer": "wait=5"}
        reply = gateway("POST", "/api/v1/jobs", PICTURE, headers=headers)
        assert (reply.status, reply.json["status"]) == (200, "succeeded")
        assert reply.headers["preference-applied"] == "wait=5"

    def test_no_time_is_202(self, gateway: Gateway) -> None:
        reply = gateway("POST", "/api/v1/generate", PICTURE, headers={"Prefer": "wait=0"})
        assert (reply.status, reply.json["status"]) == (202, "queued")
        assert reply.headers["location"].endswith(reply.json["job_id"])

    @pytest.mark.parametrize("prefer", ["wait=x", "wait=", "wait=-1", "wait=1.5"])
    def test_a_malformed_wait(self, gateway: Gateway, prefer: str) -> None:
        reply = gateway("POST", "/api/v1/jobs", PICTURE, headers={"Prefer": prefer})
        assert code(reply) == (400, "malformed_request")

    def test_other_preferences_are_ignored(self, gateway: Gateway) -> None:
        reply = gateway("POST", "/api/v1/jobs", PICTURE, headers={"Prefer": "respond-async"})
        assert "preference-applied" not in reply.headers


class TestRetry:
    def test_a_failed_job_is_made_again_once(self, gateway: Gateway, worker: Worker) -> None:
        first = submit(gateway, {**PICTURE, "metadata": {"a": "b"}, "priority": "low"})
        worker.work(fails=True)
        replies = [gateway("POST", f"/api/v1/jobs/{first}/retry") for _ in range(2)]
        assert [reply.status for reply in replies] == [202, 202]
        assert replies[0].json["job_id"] == replies[1].json["job_id"] != first
        assert replies[1].headers["idempotent-replayed"] == "true"
        again, old = view(gateway, replies[0].json["job_id"]), view(gateway, first)
        assert (again.retry_of, again.params, again.metadata) == (first, old.params, {"a": "b"})
        assert again.priority == "low"
        ended = worker.work()
        assert ended is not None
        assert ended.id == again.job_id

    def test_a_retry_stores_its_pictures_as_the_first_was_to(self, gateway: Gateway) -> None:
        output = {"format": "jpeg", "quality": 90}
        posted = gateway("POST", "/api/v1/jobs", {"prompt": "x", "output": {"format": "jpeg"}})
        path = f"/api/v1/jobs/{posted.json['job_id']}"
        shown = gateway("GET", path).json
        assert (shown["output"], shown["params"].get("output")) == (output, None)
        gateway("DELETE", path)
        again = gateway("POST", f"{path}/retry").json["job_id"]
        assert gateway("GET", f"/api/v1/jobs/{again}").json["output"] == output

    def test_a_retry_has_previews_as_the_first_was_to(self, gateway: Gateway) -> None:
        posted = gateway("POST", "/api/v1/jobs", {"prompt": "x", "previews": True})
        path = f"/api/v1/jobs/{posted.json['job_id']}"
        shown = gateway("GET", path).json
        assert (shown["previews"], shown["params"].get("previews")) == (True, None)
        gateway("DELETE", path)
        again = gateway("POST", f"{path}/retry").json["job_id"]
        assert gateway("GET", f"/api/v1/jobs/{again}").json["previews"] is True

    def test_each_key_is_a_retry_of_its_own(self, gateway: Gateway, worker: Worker) -> None:
        first = submit(gateway)
        worker.work(fails=True)
        path = f"/api/v1/jobs/{first}/retry"
        ids = [gateway("POST", path, headers={"Idempotency-Key": k}).json["job_id"] for k in "aab"]
        assert ids[0] == ids[1] != ids[2]

    def test_what_has_not_failed_is_not_retried(self, gateway: Gateway, worker: Worker) -> None:
        job_id = submit(gateway)
        path = f"/api/v1/jobs/{job_id}/retry"
        assert code(gateway("POST", path)) == (409, "job_not_retryable")
        worker.work()
        assert code(gateway("POST", path)) == (409, "job_not_retryable")
        assert code(gateway("POST", path, owner="wolf")) == (404, "job_not_found")


class TestDelete:
    def test_in_every_state(self, gateway: Gateway, worker: Worker) -> None:
        queued = submit(gateway)
        canceled = gateway("DELETE", f"/api/v1/jobs/{queued}")
        assert (canceled.status, canceled.json["status"]) == (202, "canceled")
        again = gateway("DELETE", f"/api/v1/jobs/{queued}")
        assert (again.status, again.json["status"]) == (202, "canceled")
        assert "already" in again.json["message"]
        assert worker.work() is None  # its ticket finds it ended

    def test_purge_removes_record_input_and_artifacts(
        self, gateway: Gateway, worker: Worker
    ) -> None:
        job_id = submit(gateway, **KEY)
        ended = worker.work()
        assert ended is not None
        s3 = boto3.client("s3")
        s3.put_object(Bucket="files", Key=artifact_key(ended, 0, "x.png"), Body=b"x")
        reply = gateway("DELETE", f"/api/v1/jobs/{job_id}?purge=true")
        assert reply.status == 202
        assert gateway("GET", f"/api/v1/jobs/{job_id}").status == 404
        assert s3.list_objects_v2(Bucket="files")["KeyCount"] == 0
        left = boto3.client("dynamodb").scan(TableName="jobs")["Items"]
        assert [item for item in left if item["pk"]["S"] == job_id] == []
        assert submit(gateway, **KEY) == job_id

    def test_purge_of_a_job_that_has_not_ended_cancels_it(self, gateway: Gateway) -> None:
        job_id = submit(gateway)
        reply = gateway("DELETE", f"/api/v1/jobs/{job_id}?purge=true")
        assert reply.json["status"] == "canceled"
        assert view(gateway, job_id).status == "canceled"

    def test_purge_is_true_or_false(self, gateway: Gateway) -> None:
        reply = gateway("DELETE", f"/api/v1/jobs/{submit(gateway)}?purge=maybe")
        assert code(reply) == (422, "invalid_request")


class TestReading:
    def test_the_three_clocks_are_told_by_the_clock(
        self, gateway: Gateway, clock: FrozenClock
    ) -> None:
        job_id = submit(gateway, {**PICTURE, "start_deadline_seconds": 60})
        clock.advance(61)
        assert view(gateway, job_id).status == "expired"
        assert Worker(gateway).work() is None
        clock.advance(timedelta(days=7))
        assert gateway("GET", f"/api/v1/jobs/{job_id}").status == 404
        assert gateway("GET", "/api/v1/jobs").json["jobs"] == []

    def test_past_its_retention_row_and_files_are_gone_within_two_sweeps(
        self, gateway: Gateway, clock: FrozenClock, worker: Worker
    ) -> None:
        job_id = submit(gateway)
        ended = worker.work()
        assert ended is not None
        files = boto3.resource("s3").Bucket("files")
        files.put_object(Key=artifact_key(ended, 0, "x.png"), Body=b"x")
        clock.advance(ended.retention - timedelta.resolution)
        gateway.call("SweepJobs", {})
        assert view(gateway, job_id).status == "succeeded"
        clock.advance(timedelta.resolution)
        assert code(gateway("GET", f"/api/v1/jobs/{job_id}")) == (404, "job_not_found")
        metrics = InMemoryMetrics()
        measured = gateway.altered(metrics=metrics)
        for _ in range(2):
            measured.call("SweepJobs", {})
        assert metrics.sum(Metric.SWEPT, event="Removed") == 1
        assert boto3.client("dynamodb").scan(TableName="jobs")["Items"] == []
        assert list(files.objects.all()) == []

    def test_events_are_the_numbered_history(self, gateway: Gateway, worker: Worker) -> None:
        job_id = submit(gateway)
        worker.work()
        events = gateway("GET", f"/api/v1/jobs/{job_id}/events").json["events"]
        assert [e["event"] for e in events] == ["submitted", "claimed", "started", "succeeded"]
        versions = [e["version"] for e in events]
        assert versions == sorted(set(versions))
        later = gateway("GET", f"/api/v1/jobs/{job_id}/events?after={versions[1]}").json["events"]
        assert later == events[2:]

    def test_a_queued_job_has_a_place(self, gateway: Gateway, worker: Worker) -> None:
        ids = [submit(gateway) for _ in range(3)]
        positions = [view(gateway, job_id).queue_position for job_id in ids]
        assert all(position is not None and 1 <= position <= 3 for position in positions)
        worker.work()
        ended = [v for v in (view(gateway, i) for i in ids) if v.status == "succeeded"]
        assert [v.queue_position for v in ended] == [None]

    def test_a_list_filters_and_pages(self, gateway: Gateway, clock: FrozenClock) -> None:
        ids: list[str] = []
        for _ in range(5):
            clock.advance(1)
            ids.append(submit(gateway, {**PICTURE, "metadata": {"n": str(len(ids))}}))
        gateway("DELETE", f"/api/v1/jobs/{ids[2]}")
        listed: list[str] = []
        path = "/api/v1/jobs?limit=2&status=queued"
        cursor = ""
        while True:
            page = gateway("GET", path + cursor).json
            listed += [job["job_id"] for job in page["jobs"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert listed == [ids[4], ids[3], ids[1], ids[0]]
        canceled = gateway("GET", "/api/v1/jobs?status=canceled").json["jobs"]
        assert [(job["job_id"], job["metadata"]) for job in canceled] == [(ids[2], {"n": "2"})]

    def test_models(self, gateway: Gateway) -> None:
        models = gateway("GET", "/api/v1/models").json
        assert models["default_checkpoint"] == "v1-5-pruned-emaonly.safetensors"
        assert models["checkpoints"] == ["v1-5-pruned-emaonly.safetensors"]
        assert models["node_classes"] == []
        assert "euler" in models["samplers"]
        assert "karras" in models["schedulers"]


class TestUploads:
    def offered(self, gateway: Gateway, kind: str = "image/png", **options: Any) -> str:
        asked = {"name": "a.png", "content_type": kind, "bytes": 3}
        reply = gateway("POST", "/api/v1/uploads", asked, **options)
        assert reply.status == 201, reply.text
        answer = responses.UploadAccepted.model_validate_json(reply.text)
        boto3.client("s3").put_object(
            Bucket="files", Key=answer.fields["key"], Body=b"abc", ContentType=kind
        )
        return answer.upload_id

    def body(self, upload_id: str, place: str = "1.image") -> dict[str, Any]:
        return {"workflow": LOADING, "inputs": {place: f"upload:{upload_id}"}}

    @pytest.fixture
    def clock(self) -> FrozenClock:
        return FrozenClock(datetime.now(UTC))  # S3 tells when a file came by its own clock

    def test_a_file_is_placed_into_the_graph(self, gateway: Gateway) -> None:
        upload_id = self.offered(gateway)
        job_id = submit(gateway, self.body(upload_id))
        job = gateway.aws.jobs.get(JobId(job_id))
        assert job is not None
        graph = gateway.aws.jobs.graph(job)
        assert graph["1"]["inputs"]["image"] == f"upload:{upload_id}"

    def refused(self, gateway: Gateway, body: Any) -> str:
        reply = gateway("POST", "/api/v1/jobs", body)
        assert code(reply) == (422, "invalid_request")
        (error,) = reply.json["errors"]
        assert error["loc"][:2] == ["body", "inputs"]
        return str(error["msg"])

    def test_a_missing_file(self, gateway: Gateway) -> None:
        message = self.refused(gateway, self.body("upl_" + "0" * 26))
        assert "node 1 (LoadImage), input image" in message
        assert "there is no upload" in message

    def test_anothers_file_is_missing(self, gateway: Gateway) -> None:
        upload_id = self.offered(gateway, owner="wolf")
        assert "there is no upload" in self.refused(gateway, self.body(upload_id))

    def test_a_file_of_another_kind(self, gateway: Gateway) -> None:
        upload_id = self.offered(gateway, "audio/flac")
        message = self.refused(gateway, self.body(upload_id))
        assert "takes image, the upload is audio/flac" in message

    def test_a_file_that_will_be_gone(self, gateway: Gateway, clock: FrozenClock) -> None:
        upload_id = self.offered(gateway)
        clock.advance(UPLOAD_LIFETIME - timedelta(hours=1))
        assert "may be removed before the job runs" in self.refused(gateway, self.body(upload_id))

    @pytest.mark.parametrize("place", ["9.image", "1", ".image", "1."])
    def test_a_place_that_is_not_there(self, gateway: Gateway, place: str) -> None:
        assert self.refused(gateway, self.body(self.offered(gateway), place))

    def test_an_input_that_takes_no_file(self, gateway: Gateway) -> None:
        message = self.refused(gateway, self.body(self.offered(gateway), "1.seed"))
        assert "takes no uploaded file" in message

    def test_a_reference_in_the_graph_itself_is_checked_too(self, gateway: Gateway) -> None:
        reference = "upload:upl_" + "0" * 26
        graph = {**LOADING, "1": {"class_type": "LoadImage", "inputs": {"image": reference}}}
        assert "there is no upload" in self.refused(gateway, {"workflow": graph})

    def test_a_replay_needs_its_file_no_more(self, gateway: Gateway) -> None:
        body = self.body(self.offered(gateway))
        job_id = submit(gateway, body, **KEY)
        bucket = boto3.resource("s3").Bucket("files")
        bucket.objects.all().delete()
        assert submit(gateway, body, **KEY) == job_id


class TestSwitches:
    def test_a_paused_service_accepts_nothing_and_shows_all(self, gateway: Gateway) -> None:
        job_id = submit(gateway)
        gateway.caller["jobs_enabled"] = "false"
        for path in ("/api/v1/jobs", "/api/v1/generate", f"/api/v1/jobs/{job_id}/retry"):
            reply = gateway("POST", path, PICTURE)
            assert code(reply) == (503, "jobs_disabled")
            assert int(reply.headers["retry-after"]) > 0
        assert view(gateway, job_id).status == "queued"

    def test_the_store_out_of_reach_is_503(self, gateway: Gateway) -> None:
        submit(gateway)
        gateway.aws.client("dynamodb").meta.events.register("before-call", _throttled)
        reply = gateway("POST", "/api/v1/jobs", PICTURE)
        assert code(reply) == (503, "unavailable")
        assert int(reply.headers["retry-after"]) > 0

    def test_the_queue_out_of_reach_is_202(self, gateway: Gateway, clock: FrozenClock) -> None:
        submit(gateway)
        gateway.aws.client("sqs").meta.events.register("before-call", _throttled)
        job_id = submit(gateway, {"prompt": "sent later"})
        gateway.aws.client("sqs").meta.events.unregister("before-call", _throttled)
        clock.advance(31)
        assert gateway.call("SweepJobs", {})["TicketResent"] >= 1
        worker = Worker(gateway)
        assert job_id in {str(job.id) for job in iter(worker.work, None)}

    @pytest.mark.parametrize("route", [r for r, o in OPERATIONS.items() if not o.is_open])
    def test_a_key_without_the_scope(self, gateway: Gateway, route: tuple[str, str]) -> None:
        gateway.caller["scopes"] = "other"
        path = route[1].replace("{job_id}", "job_" + "0" * 26)
        assert code(gateway(route[0], path, {})) == (403, "forbidden")


def _throttled(**_: Any) -> None:
    raise EndpointConnectionError(endpoint_url="https://aws")


def test_a_ticket_opens_a_socket_once(gateway: Gateway, clock: FrozenClock) -> None:
    key, _ = create_key(
        OwnerId("fox"), scopes=["jobs"], expires_at=None, keys=gateway.aws.keys, clock=clock
    )
    gateway.caller["key_id"] = key.id
    ticket = gateway("POST", "/api/v1/ws-tickets").json["ticket"]

    def opened() -> str:
        event = {"queryStringParameters": {"ticket": ticket}, "methodArn": "arn"}
        answer = gateway.call("AuthorizeSocket", event)
        effect: str = answer["policyDocument"]["Statement"][0]["Effect"]
        return effect

    assert [opened(), opened()] == ["Allow", "Deny"]
    ticket = gateway("POST", "/api/v1/ws-tickets").json["ticket"]
    clock.advance(61)
    assert opened() == "Deny"


def test_the_sweeper_closes_the_sockets_of_a_disabled_key(
    gateway: Gateway, clock: FrozenClock
) -> None:
    sockets = InMemorySockets()
    gateway = gateway.altered(sockets=sockets)
    keys, connections = gateway.aws.keys, gateway.aws.connections
    opened = []
    for name in ("mine", "others"):
        owner = OwnerId(name)
        key, _ = create_key(owner, scopes=["jobs"], expires_at=None, keys=keys, clock=clock)
        end = clock() + timedelta(hours=2)
        opened.append(Connection(ConnectionId(name), owner, key.id, end))
        connections.open(opened[-1])
    assert "SocketClosed" not in gateway.call("SweepJobs", {})
    disable_key(opened[0].key_id, keys=keys)
    assert gateway.call("SweepJobs", {})["SocketClosed"] == 1
    assert [connections.get(one.id) for one in opened] == [None, opened[1]]
    assert sockets.closed == {opened[0].id}
