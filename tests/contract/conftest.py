"""Each port's two implementations, built alike: in memory, and AWS's on moto in this process.

moto is single-threaded here; races of the AWS adapters are run against the emulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from moto import mock_aws

from comfyline import memory
from comfyline.aws.artifacts import S3ArtifactStore
from comfyline.aws.attendance_table import DynamoAttendance
from comfyline.aws.connections_table import DynamoConnectionStore, DynamoSocketTicketStore
from comfyline.aws.job_queues import SqsJobQueue
from comfyline.aws.jobs_table import DynamoJobStore
from comfyline.aws.keys_table import DynamoKeyStore
from comfyline.aws.ledger_table import DynamoLedger
from comfyline.aws.owners_table import DynamoOwnerStore
from comfyline.domain.job import Priority
from comfyline.ports import (
    ArtifactStore,
    Attendance,
    ConnectionStore,
    JobQueue,
    JobStore,
    KeyStore,
    Ledger,
    OwnerStore,
    SocketTicketStore,
)
from tests.support.aws import (
    REGION,
    create_connections_table,
    create_jobs_table,
    create_queues,
    create_table,
)
from tests.support.builders import FrozenClock

BUCKET = "artifacts"

AwsClient = Callable[..., Any]


@pytest.fixture(scope="session")
def aws_session() -> boto3.Session:
    """One session for all, since it caches the service models. The credentials are moto's."""
    return boto3.Session("testing", "testing", region_name=REGION)


@pytest.fixture
def aws_client(aws_session: boto3.Session) -> Iterator[AwsClient]:
    """Makes clients of an empty AWS."""
    with mock_aws():
        yield aws_session.client


@pytest.fixture
def dynamo_job_store(aws_client: AwsClient) -> DynamoJobStore:
    client = aws_client("dynamodb")
    create_jobs_table(client, "jobs")
    return DynamoJobStore(client, "jobs")


@pytest.fixture
def queue_urls(aws_client: AwsClient) -> dict[Priority, str]:
    return create_queues(aws_client("sqs"))


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(params=["memory", "aws"])
def job_store(request: pytest.FixtureRequest) -> JobStore:
    if request.param == "memory":
        return memory.InMemoryJobStore()
    store: DynamoJobStore = request.getfixturevalue("dynamo_job_store")
    return store


@pytest.fixture(params=["memory", "aws"])
def job_queue(request: pytest.FixtureRequest, clock: FrozenClock) -> JobQueue:
    if request.param == "memory":
        return memory.InMemoryJobQueue(clock)
    client = request.getfixturevalue("aws_client")("sqs")
    return SqsJobQueue(client, request.getfixturevalue("queue_urls"))


@dataclass(frozen=True, slots=True)
class Files:
    """An artifact store, and a look at what it holds: body and content type, or None."""

    store: ArtifactStore
    look: Callable[[str], tuple[bytes, str] | None]


@pytest.fixture(params=["memory", "aws"])
def files(request: pytest.FixtureRequest) -> Files:
    if request.param == "memory":
        return _files_in_memory()
    config = Config(signature_version="s3v4")
    client = request.getfixturevalue("aws_client")("s3", config=config)
    client.create_bucket(Bucket=BUCKET)
    return _files_in_s3(client)


def _files_in_memory() -> Files:
    store = memory.InMemoryArtifactStore()

    def look(key: str) -> tuple[bytes, str] | None:
        file = store.files.get(key)
        return (file.body, file.content_type) if file else None

    return Files(store, look)


def _files_in_s3(client: Any) -> Files:
    store = S3ArtifactStore(client, BUCKET)

    def look(key: str) -> tuple[bytes, str] | None:
        url = store.sign(key, name="looked-at", seconds=60)
        answer = requests.get(url, timeout=5)  # moto answers; nothing leaves the process
        return (answer.content, answer.headers["Content-Type"]) if answer.ok else None

    return Files(store, look)


@pytest.fixture(params=["memory", "aws"])
def connection_store(request: pytest.FixtureRequest) -> ConnectionStore:
    if request.param == "memory":
        return memory.InMemoryConnectionStore()
    client = request.getfixturevalue("aws_client")("dynamodb")
    create_connections_table(client, "connections")
    return DynamoConnectionStore(client, "connections")


@pytest.fixture(params=["memory", "aws"])
def key_store(request: pytest.FixtureRequest) -> KeyStore:
    if request.param == "memory":
        return memory.InMemoryKeyStore()
    client = request.getfixturevalue("aws_client")("dynamodb")
    create_table(client, "keys", "pk")
    return DynamoKeyStore(client, "keys")


@pytest.fixture(params=["memory", "aws"])
def owner_store(request: pytest.FixtureRequest) -> OwnerStore:
    if request.param == "memory":
        return memory.InMemoryOwnerStore()
    client = request.getfixturevalue("aws_client")("dynamodb")
    create_table(client, "owners", "pk", "sk")
    return DynamoOwnerStore(client, "owners")


@pytest.fixture(params=["memory", "aws"])
def ticket_store(request: pytest.FixtureRequest) -> SocketTicketStore:
    if request.param == "memory":
        return memory.InMemorySocketTicketStore()
    client = request.getfixturevalue("aws_client")("dynamodb")
    create_connections_table(client, "connections")
    return DynamoSocketTicketStore(client, "connections")


@pytest.fixture(params=["memory", "aws"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    if request.param == "memory":
        return memory.InMemoryLedger()
    client = request.getfixturevalue("aws_client")("dynamodb")
    create_table(client, "owners", "pk", "sk")
    return DynamoLedger(client, "owners")


@pytest.fixture(params=["memory", "aws"])
def attendance(request: pytest.FixtureRequest) -> Attendance:
    if request.param == "memory":
        return memory.InMemoryAttendance()
    client = request.getfixturevalue("aws_client")("dynamodb")
    create_jobs_table(client, "jobs")
    return DynamoAttendance(client, "jobs")
