"""Read everything that a deployment holds, for an audit. This scans whole tables."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.attributes import read_time, read_ttl
from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.fleet.presence import WORKERS
from comfyline.adapters.aws.graphs import ENGINE
from comfyline.adapters.aws.jobs import codec, results
from comfyline.adapters.aws.live.sockets import ApiGatewaySockets
from comfyline.contract.ids import ConnectionId, JobId
from comfyline.operate.audit import HeldSlot, Holdings, Sibling, Socket, StoredFile, Subscription
from comfyline.service.access.slots import OWNER_SHARDS
from comfyline.service.clock import Clock
from comfyline.service.errors import Unreadable
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.result import Artifact
from comfyline.service.settings import AuditSettings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

_ROW = "job"
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Reads a deployment. Needs about 2 KB of memory for each job."""

    dynamodb: DynamoDBClient
    s3: S3Client
    sqs: SQSClient
    sockets: ApiGatewaySockets
    settings: AuditSettings
    clock: Clock

    @translated()
    def read(self) -> Holdings:
        """Read everything. Items come before the items that they refer to, so tickets come first.

        Otherwise an item that is created while this runs would seem to refer to a missing one.
        """
        read_at = self.clock()
        tickets = sum(map(self._messages, self.settings.lanes.values()))
        slots, subscriptions = self._slots(), list(self._subscriptions())
        sockets = {socket.id: socket for socket in self._sockets()}
        jobs = _Jobs()
        for item in self._scan(self.settings.jobs_table):
            jobs.add(item)
        return Holdings(
            read_at=read_at,
            jobs=jobs.jobs,
            unreadable=jobs.unreadable,
            siblings=jobs.siblings,
            artifacts=jobs.artifacts,
            slots=slots,
            sockets=sockets,
            subscriptions=subscriptions,
            files={file.key: file for file in self._files()},
            tickets=tickets,
            dead_tickets=self._messages(self.settings.dead_letter_queue_url),
        )

    def _scan(self, table: str, **options: Any) -> Iterator[Any]:
        scan = self.dynamodb.get_paginator("scan").paginate
        pages = scan(TableName=table, ConsistentRead=True, **options)
        return chain.from_iterable(page["Items"] for page in pages)

    def _messages(self, url: str) -> int:
        names: Any = _COUNTS
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(count) for count in answer["Attributes"].values())

    def _slots(self) -> list[HeldSlot]:
        store = DynamoOwnerStore(self.dynamodb, self.settings.owners_table)
        held = chain.from_iterable(map(store.slots, range(OWNER_SHARDS)))
        return [HeldSlot(owner, *slot) for owner, slot in held]

    def _sockets(self) -> Iterator[Socket]:
        for item in self._connections("conn#"):
            connection_id = ConnectionId(item["pk"]["S"].removeprefix("conn#"))
            is_open = self.sockets.is_open(connection_id)
            yield Socket(connection_id, _ttl(item) or self.clock(), is_open)

    def _subscriptions(self) -> Iterator[Subscription]:
        for item in self._connections("job#"):
            connection_id = ConnectionId(item["sk"]["S"].removeprefix("conn#"))
            job_id = JobId(item["pk"]["S"].removeprefix("job#"))
            yield Subscription(connection_id, job_id, _ttl(item) or self.clock())

    def _connections(self, prefix: str) -> Iterator[Any]:
        return self._scan(
            self.settings.connections_table,
            FilterExpression="begins_with(pk, :prefix)",
            ExpressionAttributeValues={":prefix": {"S": prefix}},
        )

    def _files(self) -> Iterator[StoredFile]:
        bucket = self.settings.artifacts_bucket
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                yield StoredFile(entry["Key"], entry["Size"], entry["LastModified"])


class _Jobs:
    """The items of the jobs table, by kind. Of the bodies, only lists of artifacts are kept."""

    def __init__(self) -> None:
        self.jobs: dict[JobId, Job] = {}
        self.unreadable: list[str] = []
        self.siblings: list[Sibling] = []
        self.artifacts: dict[str, list[Artifact]] = {}

    def add(self, item: Mapping[str, Any]) -> None:
        """Add one item. What workers report of themselves and their engines is no job's."""
        if item["pk"] in (WORKERS, ENGINE):
            return
        try:
            if item["sk"]["S"] == _ROW:
                job = codec.job_of(item)
                self.jobs[job.id] = job
            else:
                self._add_sibling(JobId(item["pk"]["S"]), item["sk"]["S"], item)
        except (Unreadable, ArithmeticError, LookupError, TypeError, ValueError, zlib.error):
            self.unreadable.append(f"{item['pk']['S']} {item['sk']['S']}")

    def _add_sibling(self, job_id: JobId, name: str, item: Mapping[str, Any]) -> None:
        attempt = results.attempt_of(name)
        if attempt is not None:
            listed = self.artifacts.setdefault(f"{job_id}/{attempt}", [])
            listed += results.artifacts_of(item)
        queued_at = read_time(item["queued_at"])
        self.siblings.append(Sibling(job_id, name, queued_at, _ttl(item), attempt))


def _ttl(item: Mapping[str, Any]) -> datetime | None:
    return read_ttl(item["ttl"]) if "ttl" in item else None
