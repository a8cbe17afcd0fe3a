"""The scaler's function on moto: it resizes the ECS service and records metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions import scale_workers
from functions._aws import Aws, Clients
from functions._wiring import Wiring
from tests.contract.conftest import create_table
from tests.support.aws import create_service


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        session = boto3.Session()
        create_table(session.client("dynamodb"), "scaling", "pk")
        create_service(session.client("ecs"))
        yield session


@pytest.fixture
def wiring(aws: boto3.Session) -> Wiring:
    environ = environment(aws)
    return Wiring(environ, aws=Aws(environ, Clients(aws)))


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
        "SERVICE": "worker",
        "SCALING_TABLE": "scaling",
        "SCALING": json.dumps(SCALING),
        **urls,
    }


def desired(session: boto3.Session) -> int:
    client = session.client("ecs")
    answer = client.describe_services(cluster="comfyline", services=["worker"])
    return answer["services"][0]["desiredCount"]


def test_an_idle_fleet_is_not_resized_and_no_metric_is_recorded(
    aws: boto3.Session, wiring: Wiring, capsys: pytest.CaptureFixture[str]
) -> None:
    scale_workers.handler({}, None, wiring)
    assert desired(aws) == 0
    assert capsys.readouterr().out == ""


def test_waiting_tickets_start_workers_and_are_recorded(
    aws: boto3.Session, wiring: Wiring, capsys: pytest.CaptureFixture[str]
) -> None:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName="low")["QueueUrl"]
    for number in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    scale_workers.handler({}, None, wiring)
    assert desired(aws) == 2
    lines = [line for line in printed(capsys) if "_aws" in line]
    metrics = {name: value for line in lines for name, value in line.items()}
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Comfyline/test"
    assert (metrics["TicketsWaiting"], metrics["TicketsUnserved"]) == ([3.0], [3.0])
    assert metrics["WorkersDesired"] == [2.0]


def test_a_call_for_new_jobs_starts_a_worker(aws: boto3.Session, wiring: Wiring) -> None:
    scale_workers.handler({"arrived": 1}, None, wiring)
    assert desired(aws) == 1


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
