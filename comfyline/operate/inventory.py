"""Reads a deployment on AWS, for an audit. This scans whole tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import Item
from comfyline.adapters.aws.live.sockets import ApiGatewaySockets
from comfyline.contract.ids import ConnectionId
from comfyline.operate.audit.source import StoredFile, Table
from comfyline.service.settings import AuditSettings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

_CHUNK_BYTES = 1024 * 1024
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """`Source` on AWS."""

    dynamodb: DynamoDBClient
    s3: S3Client
    sqs: SQSClient
    sockets: ApiGatewaySockets
    settings: AuditSettings

    # --- tables -----------------------------------------------------------------------------------

    def items(self, table: Table) -> Iterator[Item]:
        """See Source."""
        scan = self.dynamodb.get_paginator("scan").paginate
        pages = scan(TableName=self._names[table], ConsistentRead=True)
        return chain.from_iterable(page["Items"] for page in pages)

    def item(self, table: Table, pk: str, sk: str) -> Item | None:
        """See Source."""
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        answer = self.dynamodb.get_item(TableName=self._names[table], Key=key, ConsistentRead=True)
        return answer.get("Item")

    def query(self, table: Table, pk: str, prefix: str = "") -> Iterator[Item]:
        """See Source."""
        values: dict[str, Any] = {":pk": {"S": pk}}
        condition = "pk = :pk"
        if prefix:
            values[":prefix"] = {"S": prefix}
            condition += " AND begins_with(sk, :prefix)"
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self._names[table],
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ConsistentRead=True,
        )
        return chain.from_iterable(page["Items"] for page in pages)

    def created_at(self, table: Table) -> datetime:
        """See Source."""
        answer = self.dynamodb.describe_table(TableName=self._names[table])
        return answer["Table"]["CreationDateTime"]

    @property
    def _names(self) -> Mapping[Table, str]:
        return {
            Table.JOBS: self.settings.jobs_table,
            Table.OWNERS: self.settings.owners_table,
            Table.CONNECTIONS: self.settings.connections_table,
            Table.KEYS: self.settings.keys_table,
        }

    # --- bucket, sockets and queues ---------------------------------------------------------------

    def files(self) -> Iterator[StoredFile]:
        """See Source."""
        bucket = self.settings.artifacts_bucket
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                yield StoredFile(entry["Key"], entry["Size"], entry["LastModified"])

    def sha256(self, key: str) -> str | None:
        """See Source."""
        try:
            answer = self.s3.get_object(Bucket=self.settings.artifacts_bucket, Key=key)
        except self.s3.exceptions.NoSuchKey:
            return None
        digest = hashlib.sha256()
        for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
            digest.update(chunk)
        return digest.hexdigest()

    def is_open(self, connection_id: ConnectionId) -> bool:
        """See Source."""
        return self.sockets.is_open(connection_id)

    def tickets(self) -> int:
        """See Source."""
        return sum(map(self._messages, self.settings.lanes.values()))

    def dead_tickets(self) -> int:
        """See Source."""
        return self._messages(self.settings.dead_letter_queue_url)

    def _messages(self, url: str) -> int:
        names: Any = _COUNTS
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(count) for count in answer["Attributes"].values())
