"""Tokens in the connections table, and the jobs that they have made in the owners table.

    table         pk               sk      holds
    connections   token#<sha256>   token   a token, until it expires
    owners        token#<sha256>   jobs    the ids of the jobs that a token has made

The functions that accept jobs have no access to the connections table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import Item, read_time, readable_items, time_of, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import JobId, KeyId, OwnerId, UserId
from comfyline.service.access.slots import ALLOWANCE_MARGIN, Allowance
from comfyline.service.access.tokens import Token

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoTokenStore:
    """`TokenStore` in the connections table."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def put(self, token: Token) -> None:
        """See TokenStore."""
        item: dict[str, Any] = {
            **_token_key(token.sha256),
            "owner": {"S": token.owner},
            "key_id": {"S": token.key_id},
            "scopes": {"L": [{"S": scope} for scope in sorted(token.scopes)]},
            "expires_at": time_of(token.expires_at),
            "ttl": ttl_of(token.expires_at),
        }
        if token.user is not None:
            item["user"] = {"S": token.user}
        if token.max_jobs is not None:
            item["max_jobs"] = {"N": str(token.max_jobs)}
        if token.session is not None:
            item["session"] = {"S": token.session}
        self._client.put_item(TableName=self._table, Item=item)

    @translated()
    def get(self, sha256: str) -> Token | None:
        """See TokenStore."""
        answer = self._client.get_item(
            TableName=self._table, Key=_token_key(sha256), ConsistentRead=True
        )
        item: Any = answer.get("Item")
        found = readable_items(token_of, [item] if item else [])
        return found[0] if found else None


class DynamoAllowanceStore:
    """`AllowanceStore` in the owners table."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def use(self, allowance: Allowance, job_id: JobId) -> bool:
        """See AllowanceStore. A set of ids counts each job once, whatever is repeated."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": f"token#{allowance.token}"}, "sk": {"S": "jobs"}},
                UpdateExpression="ADD jobs :jobs SET #ttl = :ttl",
                ConditionExpression=(
                    "attribute_not_exists(jobs) OR size(jobs) < :max OR contains(jobs, :job)"
                ),
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={
                    ":jobs": {"SS": [job_id]},
                    ":job": {"S": job_id},
                    ":max": {"N": str(allowance.max_jobs)},
                    ":ttl": ttl_of(allowance.expires_at + ALLOWANCE_MARGIN),
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def token_of(item: Item) -> Token:
    """The token in an item."""
    return Token(
        sha256=item["pk"]["S"].removeprefix("token#"),
        owner=OwnerId(item["owner"]["S"]),
        key_id=KeyId(item["key_id"]["S"]),
        user=UserId(item["user"]["S"]) if "user" in item else None,
        scopes=frozenset(scope["S"] for scope in item["scopes"]["L"]),
        expires_at=read_time(item["expires_at"]),
        max_jobs=int(item["max_jobs"]["N"]) if "max_jobs" in item else None,
        session=item["session"]["S"] if "session" in item else None,
    )


def _token_key(sha256: str) -> dict[str, Any]:
    return {"pk": {"S": f"token#{sha256}"}, "sk": {"S": "token"}}
