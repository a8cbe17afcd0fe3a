"""Posting jobs: replays, reuse, waiting for the end, and retries."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from comfyline.contract.v1.parameters import IDEMPOTENCY_KEY
from tests.integration.http_api.requests import (
    GRAPH,
    KEY,
    PICTURE,
    code,
    submit,
    view,
)
from tests.support.builders import FrozenClock, a_graph
from tests.support.gateway import Gateway
from tests.support.worker_by_hand import Worker


class Calls:
    """Counts the AWS calls of the functions."""

    def __init__(self, gateway: Gateway) -> None:
        self.counted: Counter[str] = Counter()
        for service in ("dynamodb", "sqs", "s3"):
            gateway.aws.client(service).meta.events.register("before-call", self._count)

    def _count(self, model: Any, **_: Any) -> None:
        self.counted[model.name] += 1


def test_a_job_carries_the_mark_of_a_followed_owner_without_a_read(gateway: Gateway) -> None:
    until = FrozenClock()() + timedelta(hours=2)
    calls = Calls(gateway)
    submit(gateway)
    unmarked = calls.counted.copy()
    gateway.caller["owner_watched_until"] = until.isoformat()
    job = gateway.aws.jobs.get(submit(gateway))
    assert job is not None
    assert job.owner_watched_until == until
    assert calls.counted == unmarked + unmarked + Counter({"GetItem": 1})  # the test's own read
    assert unmarked["PutItem"] > 0


class TestIdempotency:
    def test_a_replay_is_answered_with_the_same_job_and_a_header(self, gateway: Gateway) -> None:
        first, second = (gateway("POST", "/api/v1/jobs", PICTURE, headers=KEY) for _ in range(2))
        assert (first.status, second.status) == (202, 202)
        assert first.json == second.json
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"
        assert second.headers["location"] == second.json["location"]

    def test_a_key_used_again_for_another_body_is_refused(self, gateway: Gateway) -> None:
        submit(gateway, **KEY)
        reply = gateway("POST", "/api/v1/jobs", {"prompt": "a blue fox"}, headers=KEY)
        assert code(reply) == (422, "idempotency_key_reused")
        assert reply.json["type"] == "urn:comfyline:problem:idempotency_key_reused"

    def test_two_owners_may_use_the_same_key(self, gateway: Gateway) -> None:
        one = gateway("POST", "/api/v1/jobs", PICTURE, headers=KEY)
        other = gateway("POST", "/api/v1/jobs", PICTURE, headers=KEY, owner="wolf")
        assert one.json["job_id"] != other.json["job_id"]
        assert "idempotent-replayed" not in other.headers

    def test_a_quoted_key_is_the_same_key(self, gateway: Gateway) -> None:
        ids = {submit(gateway, **{"Idempotency-Key": key}) for key in ("abc", '"abc"')}
        assert len(ids) == 1

    @pytest.mark.parametrize("key", ["a", "a b", "~ !", "x" * 255, "", " ", "x" * 256, "ü", "a\tb"])
    def test_a_key_is_accepted_if_the_documents_allow_it(self, gateway: Gateway, key: str) -> None:
        schema = IDEMPOTENCY_KEY["schema"]
        is_allowed = len(key) <= schema["maxLength"] and re.search(schema["pattern"], key, re.ASCII)
        reply = gateway("POST", "/api/v1/jobs", PICTURE, headers={"Idempotency-Key": key})
        assert (reply.status == 202) == bool(is_allowed)

    @pytest.mark.parametrize("key", ["", " ", "x" * 256, "ü", "a\tb"])
    def test_a_malformed_key_is_refused(self, gateway: Gateway, key: str) -> None:
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

    def test_a_key_makes_a_new_job_once_the_retention_of_the_first_is_over(
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

    def test_a_request_with_a_seed_is_reused_and_one_without_is_not(self, gateway: Gateway) -> None:
        assert submit(gateway, self.SEEDED) == submit(gateway, self.SEEDED)
        assert submit(gateway, PICTURE) != submit(gateway, PICTURE)
        apart = {**self.SEEDED, "reuse": False}
        assert submit(gateway, apart) != submit(gateway, apart)

    def test_a_workflow_is_reused_if_the_request_says_so(self, gateway: Gateway) -> None:
        asked = {"workflow": GRAPH, "reuse": True}
        assert submit(gateway, asked) == submit(gateway, asked)
        assert submit(gateway, {"workflow": GRAPH}) != submit(gateway, {"workflow": GRAPH})

    def test_a_failed_job_is_not_reused(self, gateway: Gateway, worker: Worker) -> None:
        ids = []
        for _ in range(3):
            ids.append(submit(gateway, self.SEEDED))
            worker.work(fails=True)
        assert len(set(ids)) == 3
        last = submit(gateway, self.SEEDED)
        worker.work()
        assert submit(gateway, self.SEEDED) == last

    def test_with_a_key_no_job_is_reused(self, gateway: Gateway) -> None:
        ids = {submit(gateway, self.SEEDED, **{"Idempotency-Key": k}) for k in ("a", "b")}
        assert len(ids) == 2


class TestWaiting:
    def test_the_answer_is_the_whole_job_if_it_has_ended(
        self, gateway: Gateway, worker: Worker
    ) -> None:
        submit(gateway, **KEY)
        worker.work()
        headers = {**KEY, "Prefer": "wait=5"}
        reply = gateway("POST", "/api/v1/jobs", PICTURE, headers=headers)
        assert (reply.status, reply.json["status"]) == (200, "succeeded")
        assert reply.headers["preference-applied"] == "wait=5"

    def test_without_time_to_wait_the_answer_is_202(self, gateway: Gateway) -> None:
        reply = gateway("POST", "/api/v1/generate", PICTURE, headers={"Prefer": "wait=0"})
        assert (reply.status, reply.json["status"]) == (202, "queued")
        assert reply.headers["location"].endswith(reply.json["job_id"])

    @pytest.mark.parametrize("prefer", ["wait=x", "wait=", "wait=-1", "wait=1.5"])
    def test_a_malformed_wait_is_refused(self, gateway: Gateway, prefer: str) -> None:
        reply = gateway("POST", "/api/v1/jobs", PICTURE, headers={"Prefer": prefer})
        assert code(reply) == (400, "malformed_request")

    def test_other_preferences_are_ignored(self, gateway: Gateway) -> None:
        reply = gateway("POST", "/api/v1/jobs", PICTURE, headers={"Prefer": "respond-async"})
        assert "preference-applied" not in reply.headers


class TestRetry:
    def test_a_failed_job_is_retried_once(self, gateway: Gateway, worker: Worker) -> None:
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

    def test_a_retry_keeps_the_output_options(self, gateway: Gateway) -> None:
        output = {"format": "jpeg", "quality": 90}
        posted = gateway("POST", "/api/v1/jobs", {"prompt": "x", "output": {"format": "jpeg"}})
        path = f"/api/v1/jobs/{posted.json['job_id']}"
        shown = gateway("GET", path).json
        assert (shown["output"], shown["params"].get("output")) == (output, None)
        gateway("DELETE", path)
        again = gateway("POST", f"{path}/retry").json["job_id"]
        assert gateway("GET", f"/api/v1/jobs/{again}").json["output"] == output

    def test_a_retry_keeps_previews(self, gateway: Gateway) -> None:
        posted = gateway("POST", "/api/v1/jobs", {"prompt": "x", "previews": True})
        path = f"/api/v1/jobs/{posted.json['job_id']}"
        shown = gateway("GET", path).json
        assert (shown["previews"], shown["params"].get("previews")) == (True, None)
        gateway("DELETE", path)
        again = gateway("POST", f"{path}/retry").json["job_id"]
        assert gateway("GET", f"/api/v1/jobs/{again}").json["previews"] is True

    def test_a_retry_stays_strict(self, gateway: Gateway) -> None:
        posted = gateway("POST", "/api/v1/jobs", {"workflow": a_graph(), "strict": True})
        path = f"/api/v1/jobs/{posted.json['job_id']}"
        shown = gateway("GET", path).json
        assert (shown["strict"], shown["params"].get("strict")) == (True, None)
        gateway("DELETE", path)
        again = gateway("POST", f"{path}/retry").json["job_id"]
        assert gateway("GET", f"/api/v1/jobs/{again}").json["strict"] is True

    def test_each_key_makes_one_retry(self, gateway: Gateway, worker: Worker) -> None:
        first = submit(gateway)
        worker.work(fails=True)
        path = f"/api/v1/jobs/{first}/retry"
        ids = [gateway("POST", path, headers={"Idempotency-Key": k}).json["job_id"] for k in "aab"]
        assert ids[0] == ids[1] != ids[2]

    def test_a_job_that_has_not_failed_cannot_be_retried(
        self, gateway: Gateway, worker: Worker
    ) -> None:
        job_id = submit(gateway)
        path = f"/api/v1/jobs/{job_id}/retry"
        assert code(gateway("POST", path)) == (409, "job_not_retryable")
        worker.work()
        assert code(gateway("POST", path)) == (409, "job_not_retryable")
        assert code(gateway("POST", path, owner="wolf")) == (404, "job_not_found")
