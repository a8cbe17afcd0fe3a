"""The connections table: open sockets, and under each job the sockets that follow it.

    pk                  sk                    holds
    conn#<connection>   conn                  whose socket it is, and the names of what it follows
    job#<job>           conn#<connection>     a subscription
    pass#<sha256>       pass                  a socket pass, until it is used

A job is named in the socket's row before its subscription is put and after that is deleted, so
whoever closes the socket finds every subscription. Every item has a TTL at which the gateway ends
the socket: `$disconnect` may never come. TTL removes late, so readers look at the time themselves.

One sparse index, key (shard, key id), lists the open sockets; it holds keys and no more.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import read_time, time_of, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import ConnectionId, JobId, KeyId, OwnerId
from comfyline.service.errors import ConnectionGone, TooManySubscriptions
from comfyline.service.live.sockets import Connection, Subscriber
from comfyline.service.storage_names import BY_KEY

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OPEN_SHARDS = 4  # more sockets open and close in a second than one partition of the index takes


class DynamoConnectionStore:
    """`ConnectionStore` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def open(self, connection: Connection) -> None:
        """See ConnectionStore."""
        item = {
            **_connection_key(connection.id),
            "owner": {"S": connection.owner},
            "key_id": {"S": connection.key_id},
            "open_shard": {"S": str(zlib.crc32(connection.id.encode()) % OPEN_SHARDS)},
            "expires_at": time_of(connection.expires_at),
            "ttl": ttl_of(connection.expires_at),
        }
        self._client.put_item(TableName=self._table, Item=item)

    @translated()
    def get(self, connection_id: ConnectionId) -> Connection | None:
        """See ConnectionStore."""
        key = _connection_key(connection_id)
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        item: Any = answer.get("Item")
        if item is None:
            return None
        return Connection(
            id=connection_id,
            owner=OwnerId(item["owner"]["S"]),
            key_id=KeyId(item["key_id"]["S"]),
            expires_at=read_time(item["expires_at"]),
        )

    @translated()
    def close(self, connection_id: ConnectionId) -> None:
        """See ConnectionStore."""
        key = _connection_key(connection_id)
        # The subscriptions first: if this dies between, the row still names them.
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        for job_id in answer.get("Item", {}).get("jobs", {}).get("SS", []):
            self._delete_subscription(connection_id, JobId(job_id))
        self._client.delete_item(TableName=self._table, Key=key)

    @translated()
    def subscribe(
        self, connection: Connection, job_id: JobId, *, since: datetime, limit: int
    ) -> None:
        """See ConnectionStore."""
        self._name(connection.id, job_id, limit)
        item = {
            **_subscription_key(connection.id, job_id),
            "since": time_of(since),
            "ttl": ttl_of(connection.expires_at),
        }
        self._client.put_item(TableName=self._table, Item=item)

    def _name(self, connection_id: ConnectionId, job_id: JobId, limit: int) -> None:
        is_open = "attribute_exists(pk)"
        has_room = "(attribute_not_exists(jobs) OR size(jobs) < :limit OR contains(jobs, :job))"
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_connection_key(connection_id),
                UpdateExpression="ADD jobs :jobs",
                ConditionExpression=f"{is_open} AND {has_room}",
                ExpressionAttributeValues={
                    ":jobs": {"SS": [job_id]},
                    ":job": {"S": job_id},
                    ":limit": {"N": str(limit)},
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            if error.response.get("Item"):
                raise TooManySubscriptions(limit) from error
            raise ConnectionGone(connection_id) from error

    @translated()
    def unsubscribe(self, connection_id: ConnectionId, job_id: JobId) -> None:
        """See ConnectionStore."""
        self._delete_subscription(connection_id, job_id)
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_connection_key(connection_id),
                UpdateExpression="DELETE jobs :jobs",
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeValues={":jobs": {"SS": [job_id]}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return  # closed meanwhile, which forgets all

    def _delete_subscription(self, connection_id: ConnectionId, job_id: JobId) -> None:
        key = _subscription_key(connection_id, job_id)
        self._client.delete_item(TableName=self._table, Key=key)

    @translated()
    def subscribers(self, job_id: JobId, now: datetime) -> list[Subscriber]:
        """See ConnectionStore."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            FilterExpression="#ttl > :now",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={":pk": {"S": f"job#{job_id}"}, ":now": ttl_of(now)},
            ConsistentRead=True,
        )
        items: Any = [item for page in pages for item in page["Items"]]
        return [
            Subscriber(ConnectionId(i["sk"]["S"].removeprefix("conn#")), read_time(i["since"]))
            for i in items
        ]

    @translated()
    def by_key(self) -> Mapping[KeyId, Sequence[ConnectionId]]:
        """See ConnectionStore."""
        found: defaultdict[KeyId, list[ConnectionId]] = defaultdict(list)
        for shard in range(OPEN_SHARDS):
            for item in self._open(shard):
                name = ConnectionId(item["pk"]["S"].removeprefix("conn#"))
                found[KeyId(item["key_id"]["S"])].append(name)
        return found

    def _open(self, shard: int) -> Iterator[Any]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=BY_KEY,
            KeyConditionExpression="open_shard = :shard",
            ExpressionAttributeValues={":shard": {"S": str(shard)}},
        )
        return (item for page in pages for item in page["Items"])


def _connection_key(connection_id: ConnectionId) -> dict[str, Any]:
    return {"pk": {"S": f"conn#{connection_id}"}, "sk": {"S": "conn"}}


def _subscription_key(connection_id: ConnectionId, job_id: JobId) -> dict[str, Any]:
    return {"pk": {"S": f"job#{job_id}"}, "sk": {"S": f"conn#{connection_id}"}}
