"""The resources behind the functions."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from comfyline.contract.ids import JobId
from comfyline.service.access.keys import KeyStore
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.lanes import Priority
from functions._handlers import Event
from tests.support.builders import FrozenClock, a_job
from tests.support.gateway import Gateway


@dataclass(frozen=True)
class Cloud:
    """The functions, and the resources behind them to prepare and to inspect."""

    gateway: Gateway
    clock: FrozenClock

    def call(self, function: str, event: Event) -> dict[str, Any]:
        """What the function answers."""
        answer: dict[str, Any] = self.gateway.call(function, event)
        return answer

    @property
    def jobs(self) -> JobStore:
        return self.gateway.aws.jobs

    @property
    def keys(self) -> KeyStore:
        return self.gateway.aws.keys

    @property
    def artifacts(self) -> ArtifactStore:
        return self.gateway.aws.artifacts

    def client(self, service: str) -> Any:
        """The functions' own client of a service."""
        return self.gateway.aws.client(service)

    def has(self, job: Job) -> Job:
        """Store a job without its request."""
        assert self.jobs.add(job) is None
        return job

    def job(self, job_id: str) -> Job:
        """The stored job."""
        job = self.jobs.get(JobId(job_id))
        assert job is not None
        return job

    def tickets(self, priority: Priority = Priority.NORMAL) -> list[str]:
        """The jobs of the tickets in a lane. Receiving them empties the lane."""
        sqs = self.client("sqs")
        url = sqs.get_queue_url(QueueName=priority.value)["QueueUrl"]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        return [json.loads(m["Body"])["job_id"] for m in found.get("Messages", [])]

    def items(self, table: str) -> list[dict[str, Any]]:
        """Every item of a table."""
        items: list[dict[str, Any]] = self.client("dynamodb").scan(TableName=table)["Items"]
        return items


@pytest.fixture
def cloud(gateway: Gateway, clock: FrozenClock) -> Cloud:
    """The functions of `gateway` and their resources."""
    return Cloud(gateway, clock)


@pytest.fixture
def queued(cloud: Cloud) -> Job:
    """A queued job."""
    return cloud.has(a_job())


@pytest.fixture
def admin(cloud: Cloud) -> Cloud:
    """The same, called by an operator."""
    gateway = replace(cloud.gateway, caller={"scopes": "admin", "key_id": "k"}, made={})
    return replace(cloud, gateway=gateway)


def read(cloud: Cloud, path: str) -> Any:
    reply = cloud.gateway("GET", f"/api/v1/admin/{path}")
    assert reply.status == 200, reply.text
    return reply.json
