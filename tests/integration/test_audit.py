"""`comfyline admin audit` finds the errors that a test puts into tables, queues and bucket."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner

from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.files.artifacts import S3ArtifactStore
from comfyline.adapters.aws.fleet.presence import DynamoPresenceStore
from comfyline.adapters.aws.graphs import DynamoEngineNodesStore
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.ledger.table import DynamoLedger
from comfyline.adapters.aws.live.connections import DynamoConnectionStore
from comfyline.contract.ids import (
    ConnectionId,
    JobId,
    KeyId,
    OwnerId,
    random_job_id,
    random_worker_id,
)
from comfyline.operate import admin, wiring
from comfyline.service.access.slots import Limits, Slot
from comfyline.service.fleet.workers import Presence
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.jobs.events import LeaseExpired
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.result import Artifact
from comfyline.service.live.sockets import Connection
from tests.support.builders import (
    FrozenClock,
    a_graph,
    a_job,
    a_result,
    an_artifact,
    running,
    settled,
    some_params,
    succeeded,
)
from tests.support.gateway import Gateway

FOX = OwnerId("fox")


class Deployment:
    """The stores that the audit reads, which a test can fill and damage."""

    def __init__(self, clock: FrozenClock) -> None:
        self.clock = clock
        self.dynamodb, self.s3 = boto3.client("dynamodb"), boto3.client("s3")
        self.jobs = DynamoJobStore(self.dynamodb, "jobs")
        self.owners = DynamoOwnerStore(self.dynamodb, "owners")
        self.ledger = DynamoLedger(self.dynamodb, "owners")
        self.connections = DynamoConnectionStore(self.dynamodb, "connections")
        self.files = S3ArtifactStore(self.s3, "files")

    def succeeded(self) -> tuple[Job, Artifact]:
        """Add a succeeded and settled job with one artifact."""
        job = a_job(queued_at=self.clock())
        self.jobs.put_request(job, some_params(), a_graph())
        self.jobs.add(job)
        ended = succeeded(job, now=self.clock())
        made = replace(an_artifact(ended), bytes=4)
        self.files.put(made.key, io.BytesIO(b"made"), made.content_type)
        self.jobs.put_result(ended, a_result(made))
        ended = self.jobs.save(job, ended)
        self.ledger.count([ended])
        return self.jobs.save(ended, settled(ended, now=self.clock())), made

    def audit(self, *options: str) -> tuple[int, Any]:
        done = CliRunner().invoke(admin.app, ["audit", "--json", *options])
        return done.exit_code, json.loads(done.output)


@pytest.fixture
def deployment(gateway: Gateway, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    dead = boto3.client("sqs").create_queue(QueueName="dead")["QueueUrl"]
    monkeypatch.setenv("DEAD_LETTER_QUEUE_URL", dead)
    monkeypatch.setattr(wiring, "now", clock)
    monkeypatch.setattr(admin, "AUDIT_POLL_SECONDS", 0.0)
    return Deployment(clock)


def found(answer: tuple[int, Any], kind: str = "findings") -> list[tuple[str, str]]:
    return [(finding["kind"], finding["subject"]) for finding in answer[1][kind]]


def test_a_correct_deployment_is_clean(deployment: Deployment, gateway: Gateway) -> None:
    deployment.succeeded()
    assert gateway("POST", "/api/v1/jobs", {"prompt": "a fox"}).status == 202
    status, report = deployment.audit("--strict", "--grace", "0")
    assert (status, report["findings"], report["leftovers"]) == (0, [], [])
    counts = {"queued": 1, "succeeded": 1, "tickets": 1, "files": 1, "bytes": 4}
    assert counts.items() <= report["counts"].items()


def test_what_a_worker_reports_is_not_a_finding(deployment: Deployment) -> None:
    reports = DynamoPresenceStore(deployment.dynamodb, "jobs")
    reports.put(Presence(random_worker_id(), 1, deployment.clock()))
    nodes = EngineNodes.parse({"SaveImage": {"output_node": True}})
    DynamoEngineNodesStore(deployment.dynamodb, "jobs").publish("v1", nodes)
    status, report = deployment.audit("--strict", "--grace", "0")
    assert (status, report["findings"], report["leftovers"]) == (0, [], [])


def test_errors_of_several_kinds_are_found(deployment: Deployment, clock: FrozenClock) -> None:
    cut, lost = deployment.succeeded()[1], deployment.succeeded()[1]
    deployment.files.put(cut.key, io.BytesIO(b""), "image/png")
    deployment.files.delete_prefix(lost.key)
    left = Slot(JobId("job_none"), clock())
    deployment.owners.take_slot(FOX, left, Limits(max_active_jobs=1), clock())
    unreadable = random_job_id(clock())
    row = {"pk": {"S": unreadable}, "sk": {"S": "job"}, "schema": {"N": "99"}}
    deployment.dynamodb.put_item(TableName="jobs", Item=row)
    queue = boto3.client("sqs").get_queue_url(QueueName="normal")["QueueUrl"]
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody="{}")
    clock.advance(timedelta(minutes=10))
    answer = deployment.audit("--grace", "120")
    assert answer[0] == 1
    assert found(answer) == sorted(
        [
            ("artifact", cut.key),
            ("artifact", lost.key),
            ("row", f"{unreadable} job"),
            ("slot", "fox job_none"),
            ("ticket", "lanes"),
        ]
    )


def test_files_without_a_job_are_found(deployment: Deployment, clock: FrozenClock) -> None:
    deployment.files.put("jobs/job_none/0a-1/0_a.png", io.BytesIO(b"x"), "image/png")
    clock.advance(timedelta(days=2000))  # the bucket's times come from the real clock
    assert found(deployment.audit()) == [("file", "jobs/job_none/0a-1/0_a.png")]


def test_leftovers_are_no_findings(deployment: Deployment, clock: FrozenClock) -> None:
    job = a_job(queued_at=clock())
    deployment.jobs.put_request(job, some_params(), a_graph())  # and then the function died
    connection = Connection(ConnectionId("c"), FOX, KeyId("k"), clock() + timedelta(hours=2))
    deployment.connections.open(connection)
    deployment.connections.subscribe(connection, job.id, since=clock(), limit=5)
    deployment.dynamodb.delete_item(
        TableName="connections", Key={"pk": {"S": "conn#c"}, "sk": {"S": "conn"}}
    )
    clock.advance(timedelta(minutes=10))
    answer = deployment.audit()
    assert (answer[0], found(answer)) == (0, [])
    assert found(answer, "leftovers") == [
        ("item", f"{job.id} job#request#{job.fingerprint}"),
        ("subscription", f"c {job.id}"),
    ]
    assert deployment.audit("--strict")[0] == 1


def test_with_wait_the_audit_is_repeated(
    deployment: Deployment, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job(queued_at=clock())
    deployment.jobs.put_request(job, some_params(), a_graph())
    deployment.jobs.add(job)
    after = deployment.jobs.save(job, running(job, now=clock()))
    clock.advance(timedelta(minutes=10))  # the sweeper is late
    assert found(deployment.audit()) == [("overdue", after.id)]

    def swept(_seconds: float) -> None:
        deployment.jobs.save(after, advance(after, LeaseExpired(), clock()))

    monkeypatch.setattr(admin.time, "sleep", swept)
    assert deployment.audit("--wait", "60")[0] == 0


def test_without_json_the_audit_prints_a_table(deployment: Deployment) -> None:
    _, made = deployment.succeeded()
    deployment.files.delete_prefix(made.key)
    deployment.clock.advance(timedelta(minutes=10))
    done = CliRunner().invoke(admin.app, ["audit"], env={"COLUMNS": "200"})
    assert done.exit_code == 1
    assert made.key in done.output
    assert "is listed, but not in the bucket" in done.output
    assert "1 findings; 0 leftovers" in done.output
