"""Reading, listing, canceling and purging jobs."""

from __future__ import annotations

import json
from datetime import timedelta

import boto3

from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.jobs.artifact_keys import artifact_key
from comfyline.service.metrics import Metric
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


class TestDelete:
    def test_a_cancel_may_be_repeated(self, gateway: Gateway, worker: Worker) -> None:
        queued = submit(gateway)
        canceled = gateway("DELETE", f"/api/v1/jobs/{queued}")
        assert (canceled.status, canceled.json["status"]) == (202, "canceled")
        again = gateway("DELETE", f"/api/v1/jobs/{queued}")
        assert (again.status, again.json["status"]) == (202, "canceled")
        assert "already" in again.json["message"]
        assert worker.work() is None  # its ticket names an ended job

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
    def test_deadline_and_retention_count_by_the_clock_without_the_sweeper(
        self, gateway: Gateway, clock: FrozenClock
    ) -> None:
        job_id = submit(gateway, {**PICTURE, "start_deadline_seconds": 60})
        clock.advance(61)
        assert view(gateway, job_id).status == "expired"
        assert Worker(gateway).work() is None
        clock.advance(timedelta(days=7))
        assert gateway("GET", f"/api/v1/jobs/{job_id}").status == 404
        assert gateway("GET", "/api/v1/jobs").json["jobs"] == []

    def test_the_sweeper_settles_a_job_which_ends_with_its_retention(
        self, gateway: Gateway, clock: FrozenClock, worker: Worker
    ) -> None:
        job_id = submit(gateway)
        ended = worker.work()
        assert ended is not None
        clock.advance(ended.retention - timedelta.resolution)
        metrics = InMemoryMetrics()
        measured = gateway.altered(metrics=metrics)
        for _ in range(2):
            measured.call("SweepJobs", {})
        assert metrics.sum(Metric.SWEPT, event="Settled") == 1
        assert view(gateway, job_id).status == "succeeded"
        clock.advance(timedelta.resolution)
        assert code(gateway("GET", f"/api/v1/jobs/{job_id}")) == (404, "job_not_found")
        items = boto3.client("dynamodb").scan(TableName="jobs")["Items"]
        assert min(float(item["ttl"]["N"]) for item in items) <= clock().timestamp() + 1

    def test_events_are_the_numbered_history(self, gateway: Gateway, worker: Worker) -> None:
        job_id = submit(gateway)
        worker.work()
        events = gateway("GET", f"/api/v1/jobs/{job_id}/events").json["events"]
        assert [e["event"] for e in events] == ["submitted", "claimed", "started", "succeeded"]
        versions = [e["version"] for e in events]
        assert versions == sorted(set(versions))
        later = gateway("GET", f"/api/v1/jobs/{job_id}/events?after={versions[1]}").json["events"]
        assert later == events[2:]

    def test_the_graph_is_the_workflow_as_it_was_sent(self, gateway: Gateway) -> None:
        odd = {"f": float("nan"), "text": "\ud800 and \u202e", "seed": 2**63, "__proto__": 1.0}
        graph = {"7": {"class_type": "A", "inputs": odd}, "8": {"class_type": "B", "inputs": {}}}
        body = json.dumps({"workflow": graph})
        job_id = gateway("POST", "/api/v1/jobs", body=body).json["job_id"]
        reply = gateway("GET", f"/api/v1/jobs/{job_id}/graph")
        odd |= {"f": "NaN", "text": "? and \u202e"}
        assert reply.json["workflow"] == graph
        assert gateway("GET", f"/api/v1/jobs/{job_id}/graph", owner="another").status == 404

    def test_the_graph_of_a_form_is_what_was_made_of_it(self, gateway: Gateway) -> None:
        graph = gateway("GET", f"/api/v1/jobs/{submit(gateway)}/graph").json["workflow"]
        assert "KSampler" in {node["class_type"] for node in graph.values()}

    def test_a_graph_that_is_too_large_for_a_response_is_left_out(self, gateway: Gateway) -> None:
        graph = {"7": {"class_type": "A", "inputs": {"text": "x" * 1_000_000}}}
        job_id = submit(gateway, {"workflow": graph})
        view = gateway("GET", f"/api/v1/jobs/{job_id}/graph").json
        assert (view["workflow"], view["bytes"] > 1_000_000) == (None, True)

    def test_a_queued_job_shows_its_position(self, gateway: Gateway, worker: Worker) -> None:
        ids = [submit(gateway) for _ in range(3)]
        positions = [view(gateway, job_id).queue_position for job_id in ids]
        assert all(position is not None and 1 <= position <= 3 for position in positions)
        worker.work()
        ended = [v for v in (view(gateway, i) for i in ids) if v.status == "succeeded"]
        assert [v.queue_position for v in ended] == [None]

    def test_a_list_is_filtered_and_paged(self, gateway: Gateway, clock: FrozenClock) -> None:
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
        found = gateway("GET", "/api/v1/jobs?metadata%5Bn%5D=3").json
        assert [job["job_id"] for job in found["jobs"]] == [ids[3]]
        assert found["next_cursor"] is None
        assert gateway("GET", "/api/v1/jobs?metadata%5Bn%5D=3", owner="another").json["jobs"] == []

    def test_a_filter_with_too_many_pairs_is_refused(self, gateway: Gateway) -> None:
        query = "&".join(f"metadata%5B{n}%5D=x" for n in range(11))
        reply = gateway("GET", f"/api/v1/jobs?{query}")
        assert code(reply) == (422, "invalid_request")
        assert reply.json["errors"][0]["loc"] == ["query", "metadata"]

    def test_an_unknown_model_is_refused_with_the_nearest_name(self, gateway: Gateway) -> None:
        sent = {"prompt": "x", "model": "v1-5-pruned-emaonly.ckpt", "sampler": "eulerr"}
        reply = gateway("POST", "/api/v1/jobs", sent)
        assert reply.status == 422
        model, sampler = (error["msg"] for error in reply.json["errors"])
        assert "Did you mean 'v1-5-pruned-emaonly.safetensors'?" in model
        assert "Did you mean 'euler'?" in sampler

    def test_the_names_of_models_and_samplers_are_listed(self, gateway: Gateway) -> None:
        models = gateway("GET", "/api/v1/models").json
        assert models["default_checkpoint"] == "v1-5-pruned-emaonly.safetensors"
        assert models["checkpoints"] == ["v1-5-pruned-emaonly.safetensors"]
        assert models["any_checkpoint"] is False
        assert models["node_classes"] == []
        assert "euler" in models["samplers"]
        assert "karras" in models["schedulers"]
