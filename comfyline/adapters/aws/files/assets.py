"""The records of assets in the owners table. Each is stored three times, in one transaction.

    pk               sk                          holds
    assets#<caller>  asset#<id>                  the record
    assets#<caller>  hash#<hash>#<id>            the same, to be found by the hash
    assets#<caller>  name#<hash of name>#<id>    the same, to be found by the name

The caller is an owner, or a user of one.

A record changes only when its bytes are stored again, which writes all three. So each of them is as
good as the others, and a reader needs one call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import Item, read_time, readable_items, time_of, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import (
    OwnerId,
    Principal,
    UploadId,
    UserId,
    owner_of,
    principal_of,
    qualified,
    user_of,
)
from comfyline.service.files.asset_store import Asset

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_FOUND = 100  # records of one hash or one name that are read; one of them is enough


class DynamoAssetStore:
    """`AssetStore` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def put(self, asset: Asset, *, replaces: datetime | None = None) -> Asset | None:
        """See AssetStore."""
        # call A:  put ──(answer lost)──> the SDK puts again: refused by A's own record, which is
        # call B:         put: refused by A's record, which is B's answer          equal to A's
        values = {":replaces": time_of(replaces)} if replaces else None
        condition = "attribute_not_exists(pk)" + (" OR stored_at = :replaces" if replaces else "")
        record, *others = [{"TableName": self._table, "Item": item} for item in _items(asset)]
        guarded: Any = {
            **record,
            "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **({"ExpressionAttributeValues": values} if values else {}),
        }
        puts: Any = [{"Put": guarded}, *({"Put": other} for other in others)]
        try:
            self._client.transact_write_items(TransactItems=puts)
        except self._client.exceptions.TransactionCanceledException as refusal:
            reasons: Any = refusal.response.get("CancellationReasons", [])
            existing = reasons[0].get("Item") if reasons else None
            if not existing:
                raise
            found = asset_of(existing)
            return None if found == asset else found
        return None

    @translated()
    def get(self, caller: Principal, asset_id: UploadId) -> Asset | None:
        """See AssetStore."""
        key: Any = {"pk": _pk(caller), "sk": {"S": f"asset#{asset_id}"}}
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return asset_of(answer["Item"]) if "Item" in answer else None

    @translated()
    def with_hash(self, caller: Principal, hash_: str) -> Sequence[Asset]:
        """See AssetStore."""
        return self._found(caller, f"hash#{hash_}#")

    @translated()
    def with_name(self, caller: Principal, file_path: str) -> Sequence[Asset]:
        """See AssetStore."""
        return self._found(caller, f"name#{_hashed(file_path)}#")

    @translated()
    def delete(self, asset: Asset) -> None:
        """See AssetStore."""
        keys = [{"pk": item["pk"], "sk": item["sk"]} for item in _items(asset)]
        deletes: Any = [{"Delete": {"TableName": self._table, "Key": key}} for key in keys]
        self._client.transact_write_items(TransactItems=deletes)

    def _found(self, caller: Principal, prefix: str) -> list[Asset]:
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
            ExpressionAttributeValues={":pk": _pk(caller), ":prefix": {"S": prefix}},
            ConsistentRead=True,
            Limit=MAX_FOUND,
        )
        return readable_items(asset_of, answer["Items"])


def _pk(caller: Principal) -> Any:
    return {"S": f"assets#{qualified(caller)}"}


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]  # a name may have any character


def _items(asset: Asset) -> list[dict[str, Any]]:
    """The record, then its copies."""
    content = {
        "pk": _pk(asset.principal),
        "id": {"S": asset.id},
        "owner": {"S": owner_of(asset.principal)},
        **({"user": {"S": user}} if (user := user_of(asset.principal)) else {}),
        "hash": {"S": asset.hash},
        "size": {"N": str(asset.size_bytes)},
        "content_type": {"S": asset.content_type},
        "file_path": {"S": asset.file_path},
        "created_at": time_of(asset.created_at),
        "stored_at": time_of(asset.stored_at),
        "ttl": ttl_of(asset.expires_at),
        **({"is_claim": {"BOOL": True}} if asset.is_claim else {}),
    }
    keys = (
        f"asset#{asset.id}",
        f"hash#{asset.hash}#{asset.id}",
        f"name#{_hashed(asset.file_path)}#{asset.id}",
    )
    return [{**content, "sk": {"S": key}} for key in keys]


def asset_of(item: Item) -> Asset:
    """The asset of a stored record."""
    return Asset(
        id=UploadId(item["id"]["S"]),
        principal=principal_of(OwnerId(item["owner"]["S"]), _user_of(item)),
        hash=item["hash"]["S"],
        size_bytes=int(item["size"]["N"]),
        content_type=item["content_type"]["S"],
        file_path=item["file_path"]["S"],
        created_at=read_time(item["created_at"]),
        stored_at=read_time(item["stored_at"]),
        is_claim="is_claim" in item,
    )


def _user_of(item: Item) -> UserId | None:
    return UserId(item["user"]["S"]) if "user" in item else None
