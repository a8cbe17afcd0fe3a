"""What every Parking does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from comfyline.adapters.aws.jobs.parking import SqsParking, parked_step
from comfyline.adapters.memory.parking import InMemoryParking
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.settle import ParkedStep, Parking
from tests.contract.conftest import AwsClient, Get, adapters
from tests.support.builders import a_job

QUEUE = "parking"


@dataclass
class Kept:
    """A parking, and a function that reads its content."""

    parking: Parking
    read: Callable[[], list[ParkedStep | Mapping[str, Any]]]


def _in_memory(_: Get) -> Kept:
    parking = InMemoryParking()
    return Kept(parking, lambda: [*parking.steps, *map(json.loads, parking.records)])


def _in_sqs(get: Get) -> Kept:
    client = get("aws_client")("sqs")
    url = client.create_queue(QueueName=QUEUE)["QueueUrl"]
    return Kept(SqsParking(client, url), lambda: [parked_step(body) for body in _bodies(client)])


def _bodies(client: Any) -> list[str]:
    """Receives each message once, because a received message is invisible for a while."""
    bodies: list[str] = []
    while found := client.receive_message(QueueUrl=QUEUE, MaxNumberOfMessages=10).get("Messages"):
        bodies += [message["Body"] for message in found]
    return bodies


kept = adapters(_in_memory, _in_sqs)


def test_each_parked_step_is_kept(kept: Kept) -> None:
    steps = [
        ParkedStep(step, job.id, job.incarnation)
        for job in (a_job() for _ in range(6))
        for step in ("free_slot", "count")
    ]
    kept.parking.park(steps)
    kept.parking.park([])
    assert sorted(map(repr, kept.read())) == sorted(map(repr, steps))


def test_a_record_is_kept_as_it_came(kept: Kept) -> None:
    record = {"dynamodb": {"NewImage": {"name": {"S": "Füchse"}}}}
    kept.parking.set_aside(json.dumps(record))
    assert kept.read() == [record]


def test_without_its_queue_nothing_counts_as_parked(aws_client: AwsClient) -> None:
    parking = SqsParking(aws_client("sqs"), "https://sqs.us-east-1.amazonaws.com/1/missing")
    with pytest.raises((Unavailable, ClientError)):
        parking.set_aside("{}")
