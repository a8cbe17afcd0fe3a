"""Budgets in the owners table.

pk              sk        holds
budget#<owner>  <budget>  the number of a window, and what the owner has used in it
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from comfyline.adapters.aws.attributes import Item, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import OwnerId
from comfyline.service.access.budgets import Budget, window_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEPT = timedelta(days=1)  # after the end of a window; clocks differ by less


class DynamoBudgetStore:
    """`BudgetStore` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def spend(self, owner: OwnerId, budget: Budget, amount: int, limit: int, now: datetime) -> bool:
        """See BudgetStore. This is one write, or two for the first in a window."""
        # A, window 7: the row is in window 7, so it adds.
        # B, window 8: refused; the row that comes back is older, so its second try starts window 8.
        # C, window 8, was faster: B's second try is refused, and its third adds.
        if amount > limit:
            return False
        window = window_of(budget, now)
        for _ in range(3):
            row = self._added(owner, budget, amount, limit, window)
            if row is None:
                return True
            stored = int(row["window"]["N"]) if row else -1
            if stored >= window:
                return False
            if self._is_started(owner, budget, amount, window):
                return True
        return False

    def _added(
        self, owner: OwnerId, budget: Budget, amount: int, limit: int, window: int
    ) -> Item | None:
        """None if it was added; else the present row, or an empty one if there is no row."""
        numbers = {":amount": amount, ":window": window, ":rest": limit - amount}
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(owner, budget),
                UpdateExpression="SET used = used + :amount",
                # A row of a later window is that of a process with a faster clock.
                ConditionExpression="#window >= :window AND used <= :rest",
                ExpressionAttributeNames={"#window": "window"},
                ExpressionAttributeValues=_numbers(numbers),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            return cast(Item, refusal.response).get("Item") or {}
        return None

    def _is_started(self, owner: OwnerId, budget: Budget, amount: int, window: int) -> bool:
        """Start a window; False if another process has started it."""
        end = datetime.fromtimestamp((window + 1) * budget.window, UTC)
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(owner, budget),
                UpdateExpression="SET used = :amount, #window = :window, #ttl = :ttl",
                ConditionExpression="attribute_not_exists(pk) OR #window < :window",
                ExpressionAttributeNames={"#window": "window", "#ttl": "ttl"},
                ExpressionAttributeValues={
                    **_numbers({":amount": amount, ":window": window}),
                    ":ttl": ttl_of(end + _KEPT),
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _key(owner: OwnerId, budget: Budget) -> dict[str, Any]:
    return {"pk": {"S": f"budget#{owner}"}, "sk": {"S": budget.name}}


def _numbers(values: dict[str, int]) -> dict[str, Any]:
    return {name: {"N": str(value)} for name, value in values.items()}
