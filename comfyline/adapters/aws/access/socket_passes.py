"""Socket passes in the connections table, and likewise the links that sign in at the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.access.key_items import vouched_in, vouched_item
from comfyline.adapters.aws.attributes import Item, read_time, readable_items, time_of, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.socket_passes import SocketPass

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoSocketPassStore:
    """`SocketPassStore` in the connections table, of passes of one kind: "pass" or "link"."""

    def __init__(self, client: DynamoDBClient, table: str, kind: str = "pass") -> None:
        self._client = client
        self._table = table
        self._kind = kind

    @translated()
    def put(self, socket_pass: SocketPass) -> None:
        """See SocketPassStore."""
        item = {
            **self._key(socket_pass.sha256),
            "owner": {"S": socket_pass.owner},
            "key_id": {"S": socket_pass.key_id},
            "expires_at": time_of(socket_pass.expires_at),
            "ttl": ttl_of(socket_pass.expires_at),
            **({"token": {"S": socket_pass.token}} if socket_pass.token else {}),
            **vouched_item(socket_pass.vouched),
        }
        self._client.put_item(TableName=self._table, Item=item)

    @translated()
    def take(self, sha256: str) -> SocketPass | None:
        """See SocketPassStore. Only one delete of an item returns the item."""
        answer = self._client.delete_item(
            TableName=self._table, Key=self._key(sha256), ReturnValues="ALL_OLD"
        )
        item: Any = answer.get("Attributes")
        found = readable_items(pass_of, [item] if item else [])
        return found[0] if found else None

    def _key(self, sha256: str) -> dict[str, Any]:
        return {"pk": {"S": f"{self._kind}#{sha256}"}, "sk": {"S": self._kind}}


def pass_of(item: Item) -> SocketPass:
    """The socket pass in an item."""
    return SocketPass(
        sha256=item["pk"]["S"].partition("#")[2],
        owner=OwnerId(item["owner"]["S"]),
        key_id=KeyId(item["key_id"]["S"]),
        expires_at=read_time(item["expires_at"]),
        token=item["token"]["S"] if "token" in item else None,
        vouched=vouched_in(item),
    )
