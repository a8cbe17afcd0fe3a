"""Sessions in the connections table: those of a key are in one partition, `session#<key id>`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.access.key_items import vouched_in, vouched_item
from comfyline.adapters.aws.attributes import Item, read_time, readable_items, time_of, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.sessions import Session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoSessionStore:
    """`SessionStore` in the connections table."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def put(self, session: Session) -> None:
        """See SessionStore."""
        item = {
            **_key(session.key_id, session.sha256),
            "owner": {"S": session.owner},
            "created_at": time_of(session.created_at),
            "expires_at": time_of(session.expires_at),
            "ttl": ttl_of(session.expires_at),
            **vouched_item(session.vouched),
        }
        self._client.put_item(TableName=self._table, Item=item)

    @translated()
    def get(self, key_id: KeyId, sha256: str) -> Session | None:
        """See SessionStore."""
        answer = self._client.get_item(
            TableName=self._table, Key=_key(key_id, sha256), ConsistentRead=True
        )
        item: Any = answer.get("Item")
        found = readable_items(session_of, [item] if item else [])
        return found[0] if found else None

    @translated()
    def of_key(self, key_id: KeyId) -> list[Session]:
        """See SessionStore."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": _key(key_id, "")["pk"]},
            ConsistentRead=True,
        )
        return readable_items(session_of, [item for page in pages for item in page["Items"]])

    @translated()
    def delete(self, session: Session) -> None:
        """See SessionStore."""
        key = _key(session.key_id, session.sha256)
        self._client.delete_item(TableName=self._table, Key=key)


def session_of(item: Item) -> Session:
    """The session in an item."""
    return Session(
        sha256=item["sk"]["S"].removeprefix("session#"),
        owner=OwnerId(item["owner"]["S"]),
        key_id=KeyId(item["pk"]["S"].removeprefix("session#")),
        created_at=read_time(item["created_at"]),
        expires_at=read_time(item["expires_at"]),
        vouched=vouched_in(item),
    )


def _key(key_id: KeyId, sha256: str) -> dict[str, Any]:
    return {"pk": {"S": f"session#{key_id}"}, "sk": {"S": f"session#{sha256}"}}
