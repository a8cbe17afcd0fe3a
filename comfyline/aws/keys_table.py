"""The keys table: one item for each API key, under its id; the secret only as a hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfyline.aws.codec import read_time, time_of
from comfyline.aws.errors import translated
from comfyline.domain.ids import KeyId, OwnerId
from comfyline.ports import ApiKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


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
        return _key_of(item) if item else None

    @translated()
    def put(self, key: ApiKey) -> None:
        """See KeyStore."""
        self._client.put_item(TableName=self._table, Item=_item_of(key))


def _item_of(key: ApiKey) -> dict[str, Any]:
    expiry = {"expires_at": time_of(key.expires_at)} if key.expires_at else {}
    return {
        "pk": {"S": key.id},
        "secret_sha256": {"S": key.secret_sha256},
        "owner": {"S": key.owner},
        "scopes": {"L": [{"S": scope} for scope in sorted(key.scopes)]},
        "created_at": time_of(key.created_at),
        "disabled": {"BOOL": key.disabled},
        **expiry,
    }


def _key_of(item: Any) -> ApiKey:
    return ApiKey(
        id=KeyId(item["pk"]["S"]),
        secret_sha256=item["secret_sha256"]["S"],
        owner=OwnerId(item["owner"]["S"]),
        scopes=frozenset(scope["S"] for scope in item["scopes"]["L"]),
        created_at=read_time(item["created_at"]),
        expires_at=read_time(item["expires_at"]) if "expires_at" in item else None,
        disabled=item["disabled"]["BOOL"],
    )
