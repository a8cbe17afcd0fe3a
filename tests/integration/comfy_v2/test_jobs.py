"""Jobs over Comfy API v2: the answers, keys that are used twice, labels, and stores that fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from comfyline.contract.comfy_v2.openapi import document
from comfyline.contract.ids import JobId
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.jobs.result import Artifact
from comfyline.service.settings import EngineSettings
from tests.integration.comfy_v2.requests import GRAPH, JOBS, KEY, read, refusal, submitted
from tests.support.builders import FrozenClock, a_result, an_artifact, running, succeeded
from tests.support.gateway import Gateway
from tests.support.worker_by_hand import Worker


def ended(gateway: Gateway, clock: FrozenClock, files: int) -> tuple[JobId, Sequence[Artifact]]:
    """A job that has succeeded, and its artifacts."""
    job_id, store = JobId(submitted(gateway).id), gateway.aws.jobs
    before = store.get(job_id)
    assert before is not None
    clock.advance(2)
    after = succeeded(before, now=clock())
    artifacts = [an_artifact(after, n) for n in range(files)]
    store.put_result(after, a_result(*artifacts))
    store.save(before, after)
    return job_id, artifacts


class TestAJob:
    def test_it_is_new_queued_and_complete(self, gateway: Gateway) -> None:
        reply = gateway("POST", JOBS, {"workflow": GRAPH, "metadata": {"project": "foxes"}})
        assert reply.status == 201
        job = reply.json
        assert job["status"] == "queued"
        assert job["outputs"] == []
        assert job["metadata"] == {"project": "foxes"}
        assert job["queue_position"] >= 1
        base = f"https://api.example.com{JOBS}/{job['id']}"
        assert job["urls"] == {"self": base, "events": f"{base}/events", "cancel": f"{base}/cancel"}
        assert job["created_at"].endswith("Z")
        assert job["expires_at"].endswith("Z")
        schema = document()["components"]["schemas"]["Job"]
        assert job.keys() == schema["properties"].keys()

    def test_without_a_public_address_it_has_no_links(self, gateway: Gateway) -> None:
        gateway.environ = {**gateway.environ, "PUBLIC_URL": ""}
        job = submitted(gateway)
        assert {job.urls.self, job.urls.events, job.urls.cancel} == {""}

    def test_it_ends_with_its_outputs(self, gateway: Gateway, clock: FrozenClock) -> None:
        job_id, _ = ended(gateway, clock, 2)
        job = read(gateway, job_id)
        assert (job.status.value, job.queue_position, job.error) == ("succeeded", None, None)
        assert job.progress is not None
        assert [output.id for output in job.outputs] == [f"{job_id}.0", f"{job_id}.1"]
        assert {output.type.value for output in job.outputs} == {"image"}
        assert (job.outputs[0].size_bytes, job.outputs[0].hash) == (1234, None)

    def test_all_of_many_outputs_are_shown(self, gateway: Gateway, clock: FrozenClock) -> None:
        """Comfy's API has no pages of outputs."""
        job_id, _ = ended(gateway, clock, 350)
        assert len(read(gateway, job_id).outputs) == 350

    def test_a_node_that_raised(self, gateway: Gateway, worker: Worker) -> None:
        job_id = submitted(gateway).id
        worker.work(fails=True)
        job = read(gateway, job_id)
        assert (job.status.value, job.error and job.error.code) == ("failed", "boom")
        assert job.metrics["queue_ms"] == 0

    def test_both_apis_show_the_same_job(self, gateway: Gateway, worker: Worker) -> None:
        ours = gateway("POST", "/api/v1/jobs", {"prompt": "a red fox"}).json["job_id"]
        theirs = submitted(gateway).id
        worker.work()
        assert read(gateway, ours).status.value == "succeeded"
        assert gateway("GET", f"/api/v1/jobs/{theirs}").json["status"] == "queued"
        listed = gateway("GET", "/api/v1/jobs").json["jobs"]
        assert {job["job_id"] for job in listed} == {ours, theirs}

    def test_its_workflow_is_the_graph(self, gateway: Gateway) -> None:
        job_id = submitted(gateway).id
        reply = gateway("GET", f"{JOBS}/{job_id}/workflow")
        assert reply.json == {"workflow": GRAPH, "format": "api"}

    def test_it_has_no_logs(self, gateway: Gateway) -> None:
        reply = gateway("GET", f"{JOBS}/{submitted(gateway).id}/logs")
        assert (reply.status, reply.text) == (204, "")

    def test_a_lane_may_be_chosen(self, gateway: Gateway) -> None:
        job_id = submitted(gateway, headers={"X-Comfyline-Priority": "high"}).id
        assert gateway("GET", f"/api/v1/jobs/{job_id}").json["priority"] == "high"

    @pytest.mark.parametrize("what", ["", "/workflow", "/logs"])
    def test_another_owner_does_not_see_it(self, gateway: Gateway, what: str) -> None:
        job_id = submitted(gateway).id
        reply = gateway("GET", f"{JOBS}/{job_id}{what}", owner="another")
        assert refusal(reply) == (404, "not_found")
        assert refusal(gateway("POST", f"{JOBS}/{job_id}/cancel", owner="another"))[0] == 404
        assert read(gateway, job_id).status.value == "queued"


class TestCancel:
    def test_a_queued_job_is_canceled_at_once(self, gateway: Gateway, worker: Worker) -> None:
        job_id = submitted(gateway).id
        for _ in range(2):
            reply = gateway("POST", f"{JOBS}/{job_id}/cancel", body="")
            assert (reply.status, reply.json["status"]) == (200, "canceled")
            assert reply.json["error"] is None
        assert worker.work() is None

    def test_an_ended_job_stays_as_it_is(self, gateway: Gateway, worker: Worker) -> None:
        job_id = submitted(gateway).id
        worker.work()
        assert gateway("POST", f"{JOBS}/{job_id}/cancel").json["status"] == "succeeded"

    def test_a_running_job_is_canceling(self, gateway: Gateway, clock: FrozenClock) -> None:
        job_id = JobId(submitted(gateway).id)
        before = gateway.aws.jobs.get(job_id)
        assert before is not None
        gateway.aws.jobs.save(before, running(before, now=clock()))
        assert gateway("POST", f"{JOBS}/{job_id}/cancel").json["status"] == "canceling"


class TestKeys:
    def test_a_used_key_is_refused_with_the_job_that_it_made(self, gateway: Gateway) -> None:
        job_id = submitted(gateway, headers=KEY).id
        for body in (
            {"workflow": GRAPH},
            {"workflow": {**GRAPH, "3": GRAPH["2"]}},
            {"workflow": 1},
        ):
            reply = gateway("POST", JOBS, body, headers=KEY)
            assert refusal(reply) == (422, "idempotency_key_reuse")
            assert reply.json["error"]["details"] == {"job_id": job_id}
        assert len(gateway("GET", JOBS).json["jobs"]) == 1

    def test_a_key_of_a_job_of_api_v1_is_used_too(self, gateway: Gateway) -> None:
        gateway("POST", "/api/v1/jobs", {"prompt": "a red fox"}, headers=KEY)
        reply = gateway("POST", JOBS, {"workflow": GRAPH}, headers=KEY)
        assert refusal(reply) == (422, "idempotency_key_reuse")

    def test_a_refused_submission_releases_its_key(self, gateway: Gateway) -> None:
        assert refusal(gateway("POST", JOBS, {"workflow": {}}, headers=KEY))[0] == 422
        submitted(gateway, headers=KEY)

    def test_two_owners_may_use_the_same_key(self, gateway: Gateway) -> None:
        first = submitted(gateway, headers=KEY).id
        assert submitted(gateway, headers=KEY, owner="another").id != first

    @pytest.mark.parametrize("meanwhile", ["nothing", "a cancel", "a claim and an end"])
    def test_a_put_that_the_store_answers_late_is_no_reuse(
        self, gateway: Gateway, worker: Worker, meanwhile: str
    ) -> None:
        """The SDK repeats the Put, and the row is no longer as the first Put has written it."""

        def change() -> None:
            (row,) = gateway("GET", JOBS).json["jobs"]
            if meanwhile == "a cancel":
                gateway("POST", f"{JOBS}/{row['id']}/cancel")
            elif meanwhile == "a claim and an end":
                job = gateway.aws.jobs.get(JobId(row["id"]))
                assert job is not None
                gateway.aws.queue.send(job.id, job.owner, job.priority)
                worker.work()

        late = LateClient(gateway.client, change)
        slow = Gateway(gateway.environ, gateway.clock, late)
        job = submitted(slow, headers=KEY)
        assert late.repeated == 1
        assert len(gateway("GET", JOBS).json["jobs"]) == 1
        reply = gateway("POST", JOBS, {"workflow": GRAPH}, headers=KEY)
        assert reply.json["error"]["details"] == {"job_id": job.id}


class LateClient:
    """Makes clients that put the first row of a job twice. `meanwhile` runs in between."""

    def __init__(self, client: Callable[..., Any], meanwhile: Callable[[], None]) -> None:
        self._client, self._meanwhile = client, meanwhile
        self.repeated = 0

    def __call__(self, service: str, endpoint: str | None = None) -> Any:
        made = self._client(service, endpoint)
        return _Late(made, self) if service == "dynamodb" else made

    def put_item(self, client: Any, **item: Any) -> Any:
        if item["Item"].get("sk") == {"S": "job"} and not self.repeated:
            self.repeated += 1
            client.put_item(**item)
            self._meanwhile()
        return client.put_item(**item)


class _Late:
    def __init__(self, client: Any, late: LateClient) -> None:
        self._client, self._late = client, late

    def put_item(self, **item: Any) -> Any:
        return self._late.put_item(self._client, **item)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class TestList:
    def submit(self, gateway: Gateway, clock: FrozenClock, *labels: dict[str, str]) -> list[str]:
        ids = []
        for each in labels:
            clock.advance(1)
            ids.append(submitted(gateway, {"workflow": GRAPH, "metadata": each}).id)
        return ids[::-1]

    def pages(self, gateway: Gateway, query: str) -> list[list[str]]:
        pages, cursor = [], ""
        while True:
            reply = gateway("GET", f"{JOBS}?{query}{cursor}")
            assert reply.status == 200, reply.text
            pages.append([job["id"] for job in reply.json["jobs"]])
            if not reply.json["next_cursor"]:
                return pages
            cursor = f"&cursor={reply.json['next_cursor']}"

    def test_newest_first_in_pages(self, gateway: Gateway, clock: FrozenClock) -> None:
        ids = self.submit(gateway, clock, *({} for _ in range(5)))
        assert self.pages(gateway, "limit=2") == [ids[:2], ids[2:4], ids[4:]]

    def test_an_item(self, gateway: Gateway, clock: FrozenClock) -> None:
        (job_id,) = self.submit(gateway, clock, {"a": "b"})
        (item,) = gateway("GET", JOBS).json["jobs"]
        assert (item["id"], item["status"], item["metadata"]) == (job_id, "queued", {"a": "b"})
        assert item["create_time"] == item["update_time"] == item["created_at"]
        assert "outputs" not in item
        assert "urls" not in item

    def test_by_labels(self, gateway: Gateway, clock: FrozenClock) -> None:
        labels = [{"a": "1"}, {"a": "2"}, {"a": "1", "b": "x y&"}, {}, {"a": "1"}]
        fifth, _, third, _, first = self.submit(gateway, clock, *labels)
        found = self.pages(gateway, "limit=2&metadata%5Ba%5D=1")
        assert [job for page in found for job in page] == [fifth, third, first]
        both = "metadata[a]=1&metadata[b]=x%20y%26"
        assert [job for page in self.pages(gateway, both) for job in page] == [third]

    def test_another_owners_jobs_are_not_listed(self, gateway: Gateway) -> None:
        submitted(gateway)
        assert gateway("GET", JOBS, owner="another").json == {"jobs": [], "next_cursor": None}


class TestStoresThatFail:
    def failing(self, gateway: Gateway, times: int) -> None:
        left = iter(range(times))

        def fail(**_: Any) -> None:
            if next(left, None) is not None:
                raise EndpointConnectionError(endpoint_url="https://aws")

        gateway.aws.client("dynamodb").meta.events.register("before-call", fail)

    @pytest.mark.parametrize("what", ["", "/workflow", "/logs"])
    def test_a_read_outlasts_some_failures(self, gateway: Gateway, what: str) -> None:
        job_id = submitted(gateway).id
        self.failing(gateway, 4)
        assert gateway("GET", f"{JOBS}/{job_id}{what}").status in (200, 204)

    def test_a_read_gives_up_at_last(self, gateway: Gateway) -> None:
        job_id = submitted(gateway).id
        self.failing(gateway, 10_000)
        reply = gateway("GET", f"{JOBS}/{job_id}")
        assert refusal(reply) == (503, "upstream_unreachable")
        assert int(reply.headers["retry-after"]) > 0


class TestClasses:
    def test_classes_that_the_engine_does_not_have_are_refused(self, gateway: Gateway) -> None:
        names = {"EmptyImage": False, "SaveImage": True}
        info = {name: {"output_node": is_output} for name, is_output in names.items()}
        version = EngineSettings().engine_version
        gateway.aws.engine_nodes.publish(version, EngineNodes.parse(info))
        submitted(gateway)
        graph = {**GRAPH, "9": {"class_type": "Nope", "inputs": {}}}
        reply = gateway("POST", JOBS, {"workflow": graph})
        assert refusal(reply) == (422, "invalid_workflow")
        assert [*reply.json["error"]["details"]["node_errors"]] == ["9"]
