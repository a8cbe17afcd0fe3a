"""The connections table: open sockets, and under each job the sockets that follow it.

    pk                  sk                    holds
    conn#<connection>   conn                  whose socket it is
    job#<job>           conn#<connection>     a subscription

Every item has a TTL at which the gateway ends the socket: `$disconnect` may never come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfyline.aws.codec import read_time, time_of, ttl_of
from comfyline.aws.errors import translated
from comfyline.domain.ids import ConnectionId, JobId, KeyId, OwnerId
from comfyline.ports import Connection

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


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
        self._client.delete_item(TableName=self._table, Key=_connection_key(connection_id))

    @translated()
    def subscribe(self, connection: Connection, job_id: JobId) -> None:
        """See ConnectionStore."""
        item = {**_subscription_key(connection.id, job_id), "ttl": ttl_of(connection.expires_at)}
        self._client.put_item(TableName=self._table, Item=item)

    @translated()
    def unsubscribe(self, connection_id: ConnectionId, job_id: JobId) -> None:
        """See ConnectionStore."""
        key = _subscription_key(connection_id, job_id)
        self._client.delete_item(TableName=self._table, Key=key)

    @translated()
    def subscribers(self, job_id: JobId) -> list[ConnectionId]:
        """See ConnectionStore."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"job#{job_id}"}},
            ConsistentRead=True,
        )
        found = [item["sk"]["S"] for page in pages for item in page["Items"]]
        return [ConnectionId(sk.removeprefix("conn#")) for sk in found]


def _connection_key(connection_id: ConnectionId) -> dict[str, Any]:
    return {"pk": {"S": f"conn#{connection_id}"}, "sk": {"S": "conn"}}


def _subscription_key(connection_id: ConnectionId, job_id: JobId) -> dict[str, Any]:
    return {"pk": {"S": f"job#{job_id}"}, "sk": {"S": f"conn#{connection_id}"}}
