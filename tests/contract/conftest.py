"""The two implementations of each port: in memory, and AWS's on moto in this process.

moto is single-threaded here. The races of the AWS adapters are tested on the emulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
import pytest
import requests
from botocore.config import Config
from moto import mock_aws

from comfyline.adapters.aws.access.budgets import DynamoBudgetStore
from comfyline.adapters.aws.access.keys import DynamoKeyStore
from comfyline.adapters.aws.access.semaphore import DynamoSemaphore
from comfyline.adapters.aws.access.sessions import DynamoSessionStore
from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.access.socket_passes import DynamoSocketPassStore
from comfyline.adapters.aws.access.tokens import DynamoAllowanceStore, DynamoTokenStore
from comfyline.adapters.aws.files.artifacts import S3ArtifactStore
from comfyline.adapters.aws.files.assets import DynamoAssetStore
from comfyline.adapters.aws.fleet.presence import DynamoPresenceStore
from comfyline.adapters.aws.graphs import DynamoEngineNodesStore
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.ledger.table import DynamoLedger
from comfyline.adapters.aws.live.connections import DynamoConnectionStore
from comfyline.adapters.aws.queue import SqsJobQueue
from comfyline.adapters.memory.access import (
    InMemoryAllowanceStore,
    InMemoryBudgetStore,
    InMemoryKeyStore,
    InMemoryOwnerStore,
    InMemorySemaphore,
    InMemorySessionStore,
    InMemorySocketPassStore,
    InMemoryTokenStore,
)
from comfyline.adapters.memory.files import InMemoryArtifactStore, InMemoryAssetStore
from comfyline.adapters.memory.fleet import InMemoryPresenceStore
from comfyline.adapters.memory.graphs import InMemoryEngineNodesStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.ledger import InMemoryLedger
from comfyline.adapters.memory.live import InMemoryConnectionStore
from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.queue.lanes import Priority
from tests.support.aws import (
    REGION,
    create_connections_table,
    create_jobs_table,
    create_keys_table,
    create_queues,
    create_table,
)
from tests.support.builders import FrozenClock

BUCKET, TABLE = "artifacts", "rows"

AwsClient = Callable[..., Any]
Get = Callable[[str], Any]  # returns a fixture by its name
P = TypeVar("P")


@pytest.fixture(scope="session")
def aws_session() -> boto3.Session:
    """One session for all tests, because it caches the service models. Credentials are moto's."""
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


def adapters(in_memory: Callable[[Get], P], on_aws: Callable[[Get], P]) -> Any:
    """A fixture. Each test that uses it runs once with each of the two adapters."""

    @pytest.fixture(params=[in_memory, on_aws], ids=["memory", "aws"])
    def adapter(request: pytest.FixtureRequest) -> P:
        port: P = request.param(request.getfixturevalue)
        return port

    return adapter


def in_table(
    adapter: Callable[[Any, str], P], create: Callable[[Any, str], None]
) -> Callable[[Get], P]:
    """An adapter on a new table."""

    def make(get: Get) -> P:
        client = get("aws_client")("dynamodb")
        create(client, TABLE)
        return adapter(client, TABLE)

    return make


def keyed(*keys: str) -> Callable[[Any, str], None]:
    """Creates a table with these keys and without indexes."""
    return lambda client, name: create_table(client, name, *keys)


job_store = adapters(
    lambda _: InMemoryJobStore(),
    lambda get: get("dynamo_job_store"),
)
job_queue = adapters(
    lambda get: InMemoryJobQueue(get("clock")),
    lambda get: SqsJobQueue(get("aws_client")("sqs"), get("queue_urls")),
)
connection_store = adapters(
    lambda _: InMemoryConnectionStore(),
    in_table(DynamoConnectionStore, create_connections_table),
)
key_store = adapters(
    lambda _: InMemoryKeyStore(),
    in_table(DynamoKeyStore, create_keys_table),
)
session_store = adapters(
    lambda _: InMemorySessionStore(),
    in_table(DynamoSessionStore, create_connections_table),
)
token_store = adapters(
    lambda _: InMemoryTokenStore(),
    in_table(DynamoTokenStore, keyed("pk", "sk")),
)
allowance_store = adapters(
    lambda _: InMemoryAllowanceStore(),
    in_table(DynamoAllowanceStore, keyed("pk", "sk")),
)
owner_store = adapters(
    lambda _: InMemoryOwnerStore(),
    in_table(DynamoOwnerStore, keyed("pk", "sk")),
)
semaphore = adapters(
    lambda _: InMemorySemaphore(),
    in_table(lambda client, table: DynamoSemaphore(client, table, "waits"), keyed("pk", "sk")),
)
socket_passes = adapters(
    lambda _: InMemorySocketPassStore(),
    in_table(DynamoSocketPassStore, create_connections_table),
)
ledger = adapters(
    lambda _: InMemoryLedger(),
    in_table(DynamoLedger, keyed("pk", "sk")),
)
presence_store = adapters(
    lambda _: InMemoryPresenceStore(),
    in_table(DynamoPresenceStore, create_jobs_table),
)
budget_store = adapters(
    lambda _: InMemoryBudgetStore(),
    in_table(DynamoBudgetStore, keyed("pk", "sk")),
)
asset_store = adapters(
    lambda _: InMemoryAssetStore(),
    in_table(DynamoAssetStore, keyed("pk", "sk")),
)
engine_nodes = adapters(
    lambda _: InMemoryEngineNodesStore(),
    in_table(DynamoEngineNodesStore, create_jobs_table),
)


@dataclass(frozen=True, slots=True)
class Files:
    """An artifact store, and a function that returns body and content type of a key, or None."""

    store: ArtifactStore
    look: Callable[[str], tuple[bytes, str] | None]


def _files_in_memory(_get: Get) -> Files:
    store = InMemoryArtifactStore()

    def look(key: str) -> tuple[bytes, str] | None:
        file = store.files.get(key)
        return (file.body, file.content_type) if file else None

    return Files(store, look)


def _files_in_s3(get: Get) -> Files:
    client = get("aws_client")("s3", config=Config(signature_version="s3v4"))
    client.create_bucket(Bucket=BUCKET)
    store = S3ArtifactStore(client, BUCKET)

    def look(key: str) -> tuple[bytes, str] | None:
        url = store.sign(key, name="looked-at", seconds=60)
        answer = requests.get(url, timeout=5)  # moto answers; nothing leaves the process
        return (answer.content, answer.headers["Content-Type"]) if answer.ok else None

    return Files(store, look)


files = adapters(_files_in_memory, _files_in_s3)
