"""Cold functions over an empty AWS of moto."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto import mock_aws

from comfyline.domain.ids import JobId
from comfyline.domain.job import Job, Priority
from comfyline.ports import ArtifactStore, JobStore, KeyStore
from functions import _wiring
from tests.support.aws import REGION, create_jobs_table, create_queues, create_table
from tests.support.builders import FrozenClock, a_job

BUCKET = "artifacts"
ENVIRONMENT = {
    "JOBS_TABLE": "jobs",
    "KEYS_TABLE": "keys",
    "CONNECTIONS_TABLE": "connections",
    "OWNERS_TABLE": "owners",
    "ARTIFACTS_BUCKET": BUCKET,
    "ROUTES": "GET /healthz,POST /api/v1/jobs,GET /api/v1/jobs/{job_id}",
}


@dataclass(frozen=True)
class Cloud:
    """The resources behind the functions, to fill them and to look at what they hold."""

    client: Callable[[str], Any]
    queue_urls: Mapping[Priority, str]
    clock: FrozenClock

    @property
    def jobs(self) -> JobStore:
        return _wiring.jobs("jobs")

    @property
    def keys(self) -> KeyStore:
        return _wiring.keys("keys")

    @property
    def artifacts(self) -> ArtifactStore:
        return _wiring.artifacts(BUCKET)

    def has(self, job: Job) -> Job:
        """The job is stored with its index and due times, without its params."""
        assert self.jobs.add(job) is None
        return job

    def job(self, job_id: str) -> Job:
        """The stored job."""
        job = self.jobs.get(JobId(job_id))
        assert job is not None
        return job

    def tickets(self, priority: Priority = Priority.NORMAL) -> list[str]:
        """The ids in a lane, which is empty then."""
        sqs, url = self.client("sqs"), self.queue_urls[priority]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        return [json.loads(m["Body"])["job_id"] for m in found.get("Messages", [])]

    def items(self, table: str) -> list[dict[str, Any]]:
        """Everything in a table."""
        items: list[dict[str, Any]] = self.client("dynamodb").scan(TableName=table)["Items"]
        return items


@pytest.fixture(scope="session")
def session() -> boto3.Session:
    """One for all, since it caches the service models. The credentials are moto's."""
    return boto3.Session("testing", "testing", region_name=REGION)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch, session: boto3.Session) -> Iterator[None]:
    """The functions as after a cold start: no settings read, no client made."""
    monkeypatch.setattr(_wiring, "_session", lambda: session)
    monkeypatch.setattr(_wiring, "_settings", {})
    _wiring._client.cache_clear()
    yield
    _wiring._client.cache_clear()


@pytest.fixture
def cloud(
    monkeypatch: pytest.MonkeyPatch, session: boto3.Session, cold: None, clock: FrozenClock
) -> Iterator[Cloud]:
    monkeypatch.setattr(_wiring, "clock", clock)
    with mock_aws():
        queue_urls = _create(session)
        urls = {f"{p.value.upper()}_QUEUE_URL": url for p, url in queue_urls.items()}
        for name, value in {**ENVIRONMENT, **urls}.items():
            monkeypatch.setenv(name, value)
        yield Cloud(_wiring._client, queue_urls, clock)


def _create(session: boto3.Session) -> dict[Priority, str]:
    dynamodb = session.client("dynamodb")
    create_jobs_table(dynamodb, "jobs")
    create_table(dynamodb, "keys", "pk")
    for name in ("connections", "owners"):
        create_table(dynamodb, name, "pk", "sk")
    session.client("s3").create_bucket(Bucket=BUCKET)
    return create_queues(session.client("sqs"))


@pytest.fixture
def queued(cloud: Cloud) -> Job:
    """A job of somebody, as it was first stored."""
    return cloud.has(a_job())
