"""Sessions in the connections table.

    pk                   sk                     holds
    session#<key id>     session#<sha256>       a session
    sessions#<owner>     <key id>#<sha256>      that the owner has it
    ended                <key id>#<sha256>      that it was ended, until its sockets are closed

The rows of a session are written and removed in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.access.key_items import vouched_in, vouched_item
from comfyline.adapters.aws.attributes import Item, read_time, readable_items, time_of, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.sessions import EndedSession, Session, SessionId
from comfyline.service.live.sockets import CONNECTION_LIFETIME

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
        listed = {**_of_owner(session.id), "ttl": item["ttl"]}
        self._write([self._put(item), self._put(listed)])

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
        return readable_items(session_of, [*self._query(f"session#{key_id}")])

    @translated()
    def of_owner(
        self, owner: OwnerId, key_id: KeyId | None = None, limit: int | None = None
    ) -> list[SessionId]:
        """See SessionStore."""
        found = self._query(f"sessions#{owner}", f"{key_id}#" if key_id else "")
        return [_named(item, owner) for item in islice(found, limit)]

    @translated()
    def end(self, session: SessionId, at: datetime) -> None:
        """See SessionStore."""
        mark = {
            **_ended(session),
            "owner": {"S": session.owner},
            "at": time_of(at),
            # By then no socket of the session can be open.
            "ttl": ttl_of(at + CONNECTION_LIFETIME),
        }
        gone = (_key(session.key_id, session.sha256), _of_owner(session))
        self._write([self._put(mark), *map(self._delete, gone)])

    @translated()
    def ended(self) -> list[EndedSession]:
        """See SessionStore."""
        return readable_items(ended_of, [*self._query("ended")])

    @translated()
    def forget(self, ended: EndedSession) -> None:
        """See SessionStore."""
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=_ended(ended.id),
                ConditionExpression="#at = :at",
                ExpressionAttributeNames={"#at": "at"},
                ExpressionAttributeValues={":at": time_of(ended.at)},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return  # it was ended again, or forgotten already

    def _query(self, partition: str, begins: str = "") -> Iterator[Item]:
        condition, values = "pk = :pk", {":pk": {"S": partition}}
        if begins:
            condition += " AND begins_with(sk, :sk)"
            values[":sk"] = {"S": begins}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ConsistentRead=True,
        )
        for page in pages:
            yield from page["Items"]

    def _put(self, item: Item) -> Any:
        return {"Put": {"TableName": self._table, "Item": item}}

    def _delete(self, key: Item) -> Any:
        return {"Delete": {"TableName": self._table, "Key": key}}

    def _write(self, writes: Any) -> None:
        self._client.transact_write_items(TransactItems=writes)


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


def _of_owner(session: SessionId) -> dict[str, Any]:
    return {"pk": {"S": f"sessions#{session.owner}"}, "sk": {"S": _name(session)}}


def _ended(session: SessionId) -> dict[str, Any]:
    return {"pk": {"S": "ended"}, "sk": {"S": _name(session)}}


def _name(session: SessionId) -> str:
    return f"{session.key_id}#{session.sha256}"


def _named(item: Item, owner: str) -> SessionId:
    key_id, _, sha256 = item["sk"]["S"].partition("#")
    return SessionId(OwnerId(owner), KeyId(key_id), sha256)


def ended_of(item: Item) -> EndedSession:
    """The ended session in an item."""
    return EndedSession(_named(item, item["owner"]["S"]), read_time(item["at"]))
