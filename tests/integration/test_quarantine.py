"""`comfyline admin quarantine` shows, releases and drops what was set aside."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner

from comfyline.adapters.aws import messages
from comfyline.adapters.aws.jobs import codec
from comfyline.contract.ids import OwnerId, random_job_id
from comfyline.operate import admin
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import other_quarantines, quarantine
from tests.support.builders import FrozenClock, a_graph, a_job, some_params
from tests.support.gateway import Gateway

FOX = OwnerId("fox")


class Deployment:
    """A deployment whose rows and queues a test damages."""

    def __init__(self, gateway: Gateway, clock: FrozenClock) -> None:
        self.gateway, self.clock = gateway, clock
        self.dynamodb, self.sqs = gateway.client("dynamodb"), gateway.client("sqs")

    def job(self) -> Job:
        """A waiting job."""
        now = self.clock()
        job = a_job(id=random_job_id(now), queued_at=now, owner=FOX)
        self.gateway.aws.jobs.put_request(job, some_params(), a_graph())
        assert self.gateway.aws.jobs.add(job) is None
        return job

    def change(self, job: Job, **attributes: Any) -> None:
        row = {**codec.item_of(job), "sk": {"S": "job"}} | attributes
        self.dynamodb.put_item(TableName="jobs", Item=row)

    def set_aside(self, **attributes: Any) -> Job:
        """A job whose row the sweeper has just set aside."""
        job = self.job()
        self.change(job, **attributes)
        self.clock.advance(timedelta(minutes=1))
        assert self.gateway.call("SweepJobs", {})["SetAside"] == 1
        return job

    def row(self, job: Job) -> Any:
        key = {"pk": {"S": job.id}, "sk": {"S": "job"}}
        return self.dynamodb.get_item(TableName="jobs", Key=key).get("Item")

    def send(self, queue: str, body: str) -> str:
        url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        return str(self.sqs.send_message(QueueUrl=url, MessageBody=body)["MessageId"])


@pytest.fixture
def deployment(gateway: Gateway, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    for variable, name in (("DEAD_LETTER_QUEUE_URL", "dead"), ("PARKING_QUEUE_URL", "parking")):
        url = boto3.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        monkeypatch.setenv(variable, url)
    monkeypatch.setattr(messages, "LOOK_SECONDS", 0)
    return Deployment(gateway, clock)


def run(*arguments: str) -> tuple[int, Any]:
    done = CliRunner().invoke(admin.app, ["quarantine", *arguments, "--json"])
    return done.exit_code, json.loads(done.stdout)


def listed() -> list[tuple[str, str, bool]]:
    _, answer = run("list")
    return sorted((each["kind"], each["id"], each["can_be_read"]) for each in answer["set_aside"])


def test_nothing_is_set_aside_at_first(deployment: Deployment) -> None:
    assert run("list") == (0, {"set_aside": [], "hidden": 0})
    assert run("release", "--all") == (0, {"released": [], "left": [], "missing": []})


def test_rows_and_messages_are_listed_with_their_reason(deployment: Deployment) -> None:
    job = deployment.set_aside(schema={"N": "99"})
    parked = deployment.send("parking", '{"schema": 1, "record": "\\u001b[31m"}')
    dead = deployment.send("dead", "[[[[")
    _, answer = run("list")
    reasons = {each["id"]: each["reason"] for each in answer["set_aside"]}
    assert reasons.keys() == {job.id, parked, dead}
    assert "has schema 99" in reasons[job.id]
    text = CliRunner().invoke(admin.app, ["quarantine", "list"], env={"COLUMNS": "300"}).stdout
    assert job.id in text
    assert "\x1b" not in text


def test_a_row_that_was_corrected_is_released_and_swept(deployment: Deployment) -> None:
    job = deployment.set_aside(schema={"N": "99"})
    assert run("release", job.id)[0] == 1  # still unreadable
    assert deployment.row(job)["due_shard"] == {"S": quarantine()}
    deployment.change(job, due_shard={"S": quarantine()})
    assert listed() == [("row", job.id, True)]
    status, answer = run("release", job.id)
    assert (status, [each["id"] for each in answer["released"]]) == (0, [job.id])
    assert deployment.row(job)["due_shard"] == codec.item_of(job)["due_shard"]
    assert listed() == []
    assert deployment.gateway.call("SweepJobs", {})["TicketResent"] == 1


def test_all_that_can_be_read_are_released_and_the_others_stay(deployment: Deployment) -> None:
    bad = deployment.set_aside(schema={"N": "99"})
    good = deployment.job()
    deployment.change(good, due_shard={"S": other_quarantines()[0]})
    status, answer = run("release", "--all")
    assert status == 1
    assert [each["id"] for each in answer["released"]] == [good.id]
    assert [each["id"] for each in answer["left"]] == [bad.id]


def test_a_dropped_row_is_gone_with_its_request(deployment: Deployment) -> None:
    job = deployment.set_aside(schema={"N": "99"})
    other = deployment.job()
    assert run("drop", job.id)[0] == 0
    items = deployment.dynamodb.scan(TableName="jobs")["Items"]
    assert {item["pk"]["S"] for item in items} == {other.id}
    assert deployment.gateway("GET", f"/api/v1/jobs/{job.id}").status == 404


def test_a_row_that_is_not_in_quarantine_is_neither_released_nor_dropped(
    deployment: Deployment,
) -> None:
    job = deployment.job()
    for verb in ("release", "drop"):
        status, answer = run(verb, job.id)
        assert (status, answer["missing"]) == (1, [job.id])
    assert deployment.row(job) is not None


def test_messages_are_delivered_again_or_deleted(deployment: Deployment) -> None:
    kept = deployment.send("parking", "{}")
    assert run("release", kept)[0] == 0
    assert listed() == [("parked", kept, False)]  # visible at once, as for its consumer
    dropped = deployment.send("dead", "nonsense")
    assert run("drop", dropped)[0] == 0
    url = deployment.sqs.get_queue_url(QueueName="dead")["QueueUrl"]
    counts = deployment.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    assert counts["Attributes"]["ApproximateNumberOfMessages"] == "0"
    assert listed() == [("parked", kept, False)]


@pytest.mark.parametrize("arguments", [["release"], ["release", "--all", "job_x"], ["drop"]])
def test_ids_must_be_named(deployment: Deployment, arguments: list[str]) -> None:
    assert CliRunner().invoke(admin.app, ["quarantine", *arguments]).exit_code == 2
