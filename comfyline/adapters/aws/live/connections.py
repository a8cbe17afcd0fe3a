"""The connections table: open sockets, and for each topic its subscriptions.

    pk                  sk                    holds
    conn#<connection>   conn                  a socket: its owner, its key, its topics (`jobs`)
    job#<job>           conn#<connection>     a subscription to a job
    owner#<owner>       conn#<connection>     a subscription to all jobs of an owner
    pass#<sha256>       pass                  a socket pass, until it is used
    link#<sha256>       link                  a link that signs in, until it is used
    token#<sha256>      token                 a token, until it expires
    session#<key id>    session#<sha256>      a session, until it ends; see sessions.py for more

A topic is added to the socket's row before the subscription is put, and removed after the
subscription is deleted. So the row names every subscription, and closing the socket deletes all of
them. `$disconnect` may never come, so every item has a TTL: the time at which the gateway ends the
socket. DynamoDB removes such items late, so reads compare the time themselves.

One sparse index with the key (shard, key id and user or session) lists the open sockets. It holds
only keys.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import (
    Item,
    read_time,
    readable_items,
    time_of,
    ttl_of,
)
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import ConnectionId, KeyId, OwnerId, UserId
from comfyline.service.errors import ConnectionGone, TooManySubscriptions
from comfyline.service.live.sockets import OWNER_PREFIX, Connection, Subscriber, Topic
from comfyline.service.storage_names import BY_KEY

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# One partition of the index takes fewer writes per second than sockets are opened and closed.
OPEN_SHARDS = 4
_AFTER_KEY = "#"  # in no key's id
_OF_SESSION = "s"  # no hexadecimal digit, as which a user's hash begins
# With more sockets in one shard than this, the number in all shards is estimated from it: the
# estimate is nearly always within a tenth.
SAMPLED_SOCKETS = 500


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
            "key_id": {"S": _opener(connection)},
            "open_shard": open_shard(connection.id),
            "expires_at": time_of(connection.expires_at),
            "ttl": ttl_of(connection.expires_at),
            **({"user": {"S": connection.user}} if connection.user else {}),
            **({"session": {"S": connection.session}} if connection.session else {}),
        }
        self._client.put_item(TableName=self._table, Item=item)

    @translated()
    def has_room(self, connection: Connection, limit: int, *, of_user: bool = False) -> bool:
        """See ConnectionStore: one query, or one for each shard if the limit is low."""
        shards = range(OPEN_SHARDS)
        if limit >= SAMPLED_SOCKETS * OPEN_SHARDS:
            shards = range(own := _shard_of(connection.id), own + 1)
        share = limit * len(shards) // OPEN_SHARDS
        opener = _opener(connection) if of_user else connection.key_id
        return sum(self._count(shard, opener, share) for shard in shards) < share

    def _count(self, shard: int, opener: str, most: int) -> int:
        """The open sockets of the key, or of its user, in the shard; `most` if there are more."""
        answer = self._client.query(
            TableName=self._table,
            IndexName=BY_KEY,
            KeyConditionExpression="open_shard = :shard AND begins_with(key_id, :key)",
            ExpressionAttributeValues={":shard": {"S": str(shard)}, ":key": {"S": opener}},
            Select="COUNT",
            Limit=max(1, most),
        )
        return answer["Count"]

    @translated()
    def get(self, connection_id: ConnectionId) -> Connection | None:
        """See ConnectionStore."""
        key = _connection_key(connection_id)
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        item: Any = answer.get("Item")
        found = readable_items(connection_of, [item] if item else [])
        return found[0] if found else None

    @translated()
    def close(self, connection_id: ConnectionId) -> None:
        """See ConnectionStore."""
        key = _connection_key(connection_id)
        # Subscriptions first: after a crash in between, the socket's row still names them.
        answer: Any = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        for topic in answer.get("Item", {}).get("jobs", {}).get("SS", []):
            self._delete_subscription(connection_id, topic)
        self._client.delete_item(TableName=self._table, Key=key)

    @translated()
    def subscribe(
        self, connection: Connection, topic: Topic, *, since: datetime, limit: int
    ) -> None:
        """See ConnectionStore."""
        self._add_topic(connection.id, topic, limit)
        item = {
            **_subscription_key(connection.id, topic),
            "since": time_of(since),
            "ttl": ttl_of(connection.expires_at),
        }
        self._client.put_item(TableName=self._table, Item=item)

    def _add_topic(self, connection_id: ConnectionId, topic: Topic, limit: int) -> None:
        is_open = "attribute_exists(pk)"
        has_room = "(attribute_not_exists(jobs) OR size(jobs) < :limit OR contains(jobs, :topic))"
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_connection_key(connection_id),
                UpdateExpression="ADD jobs :topics",
                ConditionExpression=f"{is_open} AND {has_room}",
                ExpressionAttributeValues={
                    ":topics": {"SS": [topic]},
                    ":topic": {"S": topic},
                    ":limit": {"N": str(limit)},
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            if error.response.get("Item"):
                raise TooManySubscriptions(limit) from error
            raise ConnectionGone(connection_id) from error

    @translated()
    def unsubscribe(self, connection_id: ConnectionId, topic: Topic) -> None:
        """See ConnectionStore."""
        self._delete_subscription(connection_id, topic)
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_connection_key(connection_id),
                UpdateExpression="DELETE jobs :topics",
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeValues={":topics": {"SS": [topic]}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return  # the socket was closed meanwhile, which deletes all of its subscriptions

    def _delete_subscription(self, connection_id: ConnectionId, topic: Topic) -> None:
        key = _subscription_key(connection_id, topic)
        self._client.delete_item(TableName=self._table, Key=key)

    @translated()
    def subscribers(self, topic: Topic, now: datetime) -> list[Subscriber]:
        """See ConnectionStore."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            FilterExpression="#ttl > :now",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={":pk": {"S": _partition(topic)}, ":now": ttl_of(now)},
            ConsistentRead=True,
        )
        items: Any = [item for page in pages for item in page["Items"]]
        return readable_items(_subscriber_of, items)

    @translated()
    def open_sockets(
        self, key_id: KeyId | None = None, session: str | None = None
    ) -> list[ConnectionId]:
        """See ConnectionStore."""
        opener = _of_session(key_id, session) if key_id and session else key_id
        return [socket for shard in range(OPEN_SHARDS) for socket in self._open_in(shard, opener)]

    def _open_in(self, shard: int, opener: str | None) -> Iterator[ConnectionId]:
        condition, values = "open_shard = :shard", {":shard": {"S": str(shard)}}
        if opener is not None:
            condition += " AND begins_with(key_id, :key)"
            values[":key"] = {"S": opener}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=BY_KEY,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
        )
        for page in pages:
            for item in page["Items"]:
                yield ConnectionId(item["pk"]["S"].removeprefix("conn#"))


def _opener(connection: Connection) -> str:
    """The key, and after it the user in whose name a token of it has opened the socket, or the
    session.

    The index is sorted by it, so that the sockets of a key, a user and a session are found.
    """
    if connection.session is not None:
        return _of_session(connection.key_id, connection.session)
    if connection.user is None:
        return connection.key_id
    return f"{connection.key_id}{_AFTER_KEY}{sha256(connection.user.encode()).hexdigest()[:32]}"


def _of_session(key_id: KeyId, session: str) -> str:
    return f"{key_id}{_AFTER_KEY}{_OF_SESSION}{session[:32]}"


def open_shard(connection_id: ConnectionId) -> dict[str, str]:
    """The shard of the index in which the socket is found while it is open."""
    return {"S": str(_shard_of(connection_id))}


def _shard_of(connection_id: ConnectionId) -> int:
    return zlib.crc32(connection_id.encode()) % OPEN_SHARDS


def connection_of(item: Item) -> Connection:
    """The socket in its row."""
    return Connection(
        id=ConnectionId(item["pk"]["S"].removeprefix("conn#")),
        owner=OwnerId(item["owner"]["S"]),
        key_id=KeyId(item["key_id"]["S"].partition(_AFTER_KEY)[0]),
        expires_at=read_time(item["expires_at"]),
        user=UserId(item["user"]["S"]) if "user" in item else None,
        session=item["session"]["S"] if "session" in item else None,
    )


def _subscriber_of(item: Item) -> Subscriber:
    id_ = ConnectionId(item["sk"]["S"].removeprefix("conn#"))
    return Subscriber(id_, read_time(item["since"]))


def _connection_key(connection_id: ConnectionId) -> dict[str, Any]:
    return {"pk": {"S": f"conn#{connection_id}"}, "sk": {"S": "conn"}}


def _subscription_key(connection_id: ConnectionId, topic: Topic) -> dict[str, Any]:
    return {"pk": {"S": _partition(topic)}, "sk": {"S": f"conn#{connection_id}"}}


def _partition(topic: Topic) -> str:
    return topic if topic.startswith(OWNER_PREFIX) else f"job#{topic}"
