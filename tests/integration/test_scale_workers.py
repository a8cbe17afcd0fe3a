"""The functions of the scaler on moto: the ECS services are resized and metrics recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions import count_crashes, scale_workers
from functions._aws import Aws
from functions._clients import Clients
from functions._wiring import Wiring
from tests.contract.conftest import create_table
from tests.support.aws import create_jobs_table, create_services


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        session = boto3.Session()
        create_table(session.client("dynamodb"), "scaling", "pk")
        create_jobs_table(session.client("dynamodb"), "jobs")
        create_services(session.client("ecs"))
        yield session


@pytest.fixture
def wiring(aws: boto3.Session) -> Wiring:
    environ = environment(aws)
    return Wiring(environ, aws=Aws(environ, Clients(aws.client)))


SCALING = {
    "max_workers": 4,
    "job_seconds": 10,
    "target_wait_seconds": 20,
    "boot_seconds": 60,
    "quiet_seconds": 120,
}


def environment(session: boto3.Session) -> dict[str, str]:
    sqs = session.client("sqs")
    urls = {
        f"{lane.upper()}_QUEUE_URL": sqs.create_queue(QueueName=lane)["QueueUrl"]
        for lane in ("high", "normal", "low")
    }
    return {
        "METRICS_NAMESPACE": "Comfyline/test",
        "CLUSTER": "comfyline",
        "JOBS_TABLE": "jobs",
        "SCALING_TABLE": "scaling",
        "SCALING": json.dumps(SCALING),
        **urls,
    }


def desired(session: boto3.Session) -> tuple[int, int]:
    """The on-demand and the spot workers that were ordered."""
    client = session.client("ecs")
    answer = client.describe_services(cluster="comfyline", services=["ondemand", "spot"])
    counts = {service["serviceName"]: service["desiredCount"] for service in answer["services"]}
    return counts["ondemand"], counts["spot"]


def test_an_idle_fleet_is_not_resized_and_no_metric_is_recorded(
    aws: boto3.Session, wiring: Wiring, capsys: pytest.CaptureFixture[str]
) -> None:
    scale_workers.handler({}, None, wiring)
    assert desired(aws) == (0, 0)
    assert capsys.readouterr().out == ""


def test_waiting_tickets_start_workers_and_are_recorded(
    aws: boto3.Session, wiring: Wiring, capsys: pytest.CaptureFixture[str]
) -> None:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName="low")["QueueUrl"]
    for number in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    scale_workers.handler({}, None, wiring)
    assert desired(aws) == (1, 1)
    lines = [line for line in printed(capsys) if "_aws" in line]
    metrics = {name: value for line in lines for name, value in line.items()}
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Comfyline/test"
    assert (metrics["TicketsWaiting"], metrics["TicketsUnserved"]) == ([3.0], [3.0])
    assert (metrics["WorkersDesired"], metrics["WorkersReady"]) == ([2.0], [0.0])


def test_a_call_for_new_jobs_starts_a_worker(aws: boto3.Session, wiring: Wiring) -> None:
    scale_workers.handler({"arrived": 1}, None, wiring)
    assert desired(aws) == (1, 0)


def test_a_crash_is_measured_and_counted(
    wiring: Wiring, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = {
        "taskArn": "arn:aws:ecs:eu-west-1:1:task/comfyline/1",
        "stopCode": "EssentialContainerExited",
        "stoppedReason": "Essential container in task exited",
        "containers": [{"name": "Worker", "exitCode": 1}],
    }
    count_crashes.handler({"detail-type": "ECS Task State Change", "detail": detail}, None, wiring)
    count_crashes.handler({"detail": {"taskArn": "arn", "containers": [{}]}}, None, wiring)
    lines = printed(capsys)
    assert sum(line["WorkersCrashed"][0] for line in lines if "WorkersCrashed" in line) == 2
    assert wiring.aws.scaling_memory.crashes(wiring.clock()) == 2


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
