"""The keys table: one item for each API key, with its id as `pk` and the hash of its secret.

One more item, `flags`, holds the operator's switches. An item `owner#<owner>` says until when a
client follows all jobs of that owner; the authorizer, which reads no other table, passes it on.

An index lists the keys of each owner. Only keys have the attribute `owner`, so a mark of a followed
owner, which is written in ordinary traffic, is in no index.

A sparse index lists the keys that are void or will be, by the time from which they are. It holds
only keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws import batches
from comfyline.adapters.aws.access.key_items import VOID_SHARD, item_of, key_of
from comfyline.adapters.aws.attributes import read_time, readable_items, time_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.keys import ApiKey, Flags, Switches, SwitchesChanged
from comfyline.service.errors import Unavailable
from comfyline.service.storage_names import BY_OWNER, BY_VOID_AT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OWNER_PREFIX = "owner#"
MAX_TRIES = 5  # of a change: keys are seldom changed
_FLAGS = {"pk": {"S": "flags"}}  # cannot be the id of a key, which is 16 hexadecimal digits


class DynamoKeyStore:
    """`KeyStore` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def get(self, key_id: KeyId) -> ApiKey | None:
        """See KeyStore."""
        key = {"pk": {"S": key_id}}
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        item: Any = answer.get("Item")
        found = readable_items(key_of, [item] if item and "secret_sha256" in item else [])
        return found[0] if found else None

    @translated()
    def get_many(self, key_ids: Sequence[KeyId]) -> list[ApiKey]:
        """See KeyStore."""
        keys = [{"pk": {"S": key_id}} for key_id in key_ids]
        return readable_items(key_of, batches.get_items(self._client, self._table, keys))

    @translated()
    def void_between(self, start: datetime, end: datetime) -> list[KeyId]:
        """See KeyStore."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=BY_VOID_AT,
            KeyConditionExpression="void_shard = :shard AND void_at BETWEEN :start AND :end",
            ExpressionAttributeValues={
                ":shard": VOID_SHARD,
                ":start": time_of(start),
                ":end": time_of(end),
            },
        )
        return [KeyId(item["pk"]["S"]) for page in pages for item in page["Items"]]

    @translated()
    def put(self, key: ApiKey) -> None:
        """See KeyStore."""
        self._client.put_item(TableName=self._table, Item=item_of(key))

    @translated()
    def owners(self) -> list[OwnerId]:
        """See KeyStore. This reads the index, whose entries have some 100 bytes."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table, IndexName=BY_OWNER
        )
        return sorted({OwnerId(item["owner"]["S"]) for page in pages for item in page["Items"]})

    @translated()
    def page(self, limit: int, after: KeyId | None) -> tuple[list[ApiKey], KeyId | None]:
        """See KeyStore. Items that are no keys shorten a page."""
        start: Any = {"ExclusiveStartKey": {"pk": {"S": after}}} if after else {}
        answer = self._client.scan(TableName=self._table, Limit=limit, **start)
        items = [item for item in answer["Items"] if "secret_sha256" in item]
        last: Any = answer.get("LastEvaluatedKey")
        return readable_items(key_of, items), KeyId(last["pk"]["S"]) if last else None

    @translated()
    def of_owner(self, owner: OwnerId) -> list[ApiKey]:
        """See KeyStore. The index lists the ids, and the keys are read consistently."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=BY_OWNER,
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": owner}},
        )
        found = [KeyId(item["pk"]["S"]) for page in pages for item in page["Items"]]
        return sorted(self.get_many(found), key=_age)

    @translated()
    def change(self, key_id: KeyId, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        """See KeyStore."""
        return self._changed(key_id, change)

    @translated()
    def replace(self, key_id: KeyId, change: Callable[[ApiKey], ApiKey], by: ApiKey) -> bool:
        """See KeyStore. One transaction writes both."""
        return self._changed(key_id, change, by) is not None

    def _changed(
        self, key_id: KeyId, change: Callable[[ApiKey], ApiKey], by: ApiKey | None = None
    ) -> ApiKey | None:
        # A: reads revision 3, and writes 4. B: has read 3 too, is refused, and reads 4.
        for _ in range(MAX_TRIES):
            key = self.get(key_id)
            if key is None:
                return None
            changed = change(key)
            if changed == key and by is None:
                return key
            changed = replace(changed, revision=key.revision + 1)
            if self._write(changed, key, by):
                return changed
        raise Unavailable(f"key {key_id} is changed by too many calls at once")

    def _write(self, changed: ApiKey, was: ApiKey, by: ApiKey | None) -> bool:
        is_as_read = "attribute_exists(pk) AND attribute_not_exists(revision)"
        if was.revision:
            is_as_read = "revision = :revision"
        known = {":revision": {"N": str(was.revision)}} if was.revision else {}
        put: Any = {
            "TableName": self._table,
            "Item": item_of(changed),
            "ConditionExpression": is_as_read,
            **({"ExpressionAttributeValues": known} if known else {}),
        }
        try:
            if by is None:
                self._client.put_item(**put)
            else:
                new: Any = {"TableName": self._table, "Item": item_of(by)}
                self._client.transact_write_items(TransactItems=[{"Put": put}, {"Put": new}])
        except (
            self._client.exceptions.ConditionalCheckFailedException,
            self._client.exceptions.TransactionCanceledException,
        ):
            return False
        return True

    @translated()
    def delete(self, key_id: KeyId) -> None:
        """See KeyStore."""
        self._client.delete_item(TableName=self._table, Key={"pk": {"S": key_id}})

    @translated()
    def all(self) -> list[ApiKey]:
        """See KeyStore. This is a scan, so only an operator's command should call it."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table, ConsistentRead=True
        )
        items = [item for page in pages for item in page["Items"] if "secret_sha256" in item]
        found = readable_items(key_of, items)
        return sorted(found, key=_age)

    @translated()
    def watch_owner(self, owner: OwnerId, until: datetime) -> None:
        """See KeyStore."""
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.update_item(
                TableName=self._table,
                Key=_watch_key(owner),
                UpdateExpression="SET watched_until = :until",
                ConditionExpression="attribute_not_exists(pk) OR watched_until < :until",
                ExpressionAttributeValues={":until": time_of(until)},
            )

    @translated()
    def owner_watched_until(self, owner: OwnerId) -> datetime | None:
        """See KeyStore."""
        key = _watch_key(owner)
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        item: Any = answer.get("Item")
        found = readable_items(_watched_until_of, [item] if item else [])
        return found[0] if found else None

    @translated()
    def flags(self) -> Flags:
        """See KeyStore."""
        return _flags_in(self._switches_item())

    @translated()
    def switches(self) -> Switches:
        """See KeyStore."""
        return _switches_in(self._switches_item())

    def _switches_item(self) -> Any:
        answer = self._client.get_item(TableName=self._table, Key=_FLAGS, ConsistentRead=True)
        return answer.get("Item", {})

    @translated()
    def switch(
        self, changes: Mapping[str, bool], at: datetime, by: str = "", *, seen: int | None = None
    ) -> Switches:
        """See KeyStore."""
        # operator A:  read v3 ─────────────────── switch jobs off: refused, as v4 is stored
        # operator B:       └── switch sockets off ──┘
        # a command:                              └── switch jobs off: sets only what it names
        values: dict[str, Any] = {f":{name}": {"BOOL": on} for name, on in changes.items()}
        values |= {":at": time_of(at), ":by": {"S": by}, ":one": {"N": "1"}}
        condition: Any = {}
        if seen == 0:
            condition = {"ConditionExpression": "attribute_not_exists(version)"}
        elif seen is not None:
            values[":seen"] = {"N": str(seen)}
            condition = {"ConditionExpression": "version = :seen"}
        sets = "".join(f", #{name} = :{name}" for name in changes)
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=_FLAGS,
                UpdateExpression=f"SET changed_at = :at, changed_by = :by{sets} ADD version :one",
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                ExpressionAttributeNames={f"#{name}": name for name in changes},
                **condition,
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            raise SwitchesChanged(_switches_in(refusal.response.get("Item", {}))) from refusal
        return _switches_in(answer["Attributes"])


def _flags_in(item: Any) -> Flags:
    return Flags(**{f.name: item[f.name]["BOOL"] for f in fields(Flags) if f.name in item})


def _switches_in(item: Any) -> Switches:
    return Switches(
        flags=_flags_in(item),
        version=int(item["version"]["N"]) if "version" in item else 0,
        changed_at=read_time(item["changed_at"]) if "changed_at" in item else None,
        changed_by=item["changed_by"]["S"] if "changed_by" in item else "",
    )


def _age(key: ApiKey) -> tuple[datetime, str]:
    return key.created_at, key.id


def _watch_key(owner: OwnerId) -> dict[str, Any]:
    return {"pk": {"S": f"{OWNER_PREFIX}{owner}"}}


def _watched_until_of(item: Any) -> datetime:
    return read_time(item["watched_until"])
