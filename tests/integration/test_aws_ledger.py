"""The ledger counts writes as DynamoDB charges for them, and does not count its own calls."""

from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from tests.support.aws_ledger import Item, Ledger, write_units
from tests.support.item_size import item_size

BY_STATUS = {"by_status": ["owner", "status"]}


def an_item(status: str = "queued", text: str = "") -> Item:
    return {"pk": {"S": "a"}, "owner": {"S": "o"}, "status": {"S": status}, "text": {"S": text}}


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        (None, an_item(), 2),  # the item and its index entry
        (an_item(), an_item(text="more"), 1),  # the index entry stays
        (an_item(), an_item("running"), 3),  # an index entry is removed, another added
        (an_item(), None, 2),
        (None, None, 1),  # refused by its condition; the write is billed
        (an_item(text="x" * 2000), an_item(), 2),  # billed by the larger of both items
    ],
)
def test_write_units(before: Item | None, after: Item | None, units: int) -> None:
    assert write_units(before, after, BY_STATUS).total() == units


def test_units_are_split_by_table_and_index() -> None:
    assert write_units(an_item(), an_item("running"), BY_STATUS) == {"table": 1, "by_status": 2}


def test_the_size_of_an_item() -> None:
    assert item_size({"name": {"S": "four"}}) == 8
    assert item_size({"n": {"L": [{"S": "ab"}]}, "b": {"B": b"123"}}) == 1 + 3 + 3 + 1 + 3


def test_the_ledgers_own_calls_are_not_counted() -> None:
    with mock_aws():
        session = boto3.Session("testing", "testing", region_name="us-east-1")
        ledger = Ledger()
        with ledger.watching(session):
            client = session.client("dynamodb")
            client.create_table(
                TableName="t",
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            )
            ledger.counted.clear()
            client.put_item(TableName="t", Item=dict(an_item()))
            client.transact_write_items(
                TransactItems=[{"Put": {"TableName": "t", "Item": dict(an_item("running"))}}]
            )
            client.batch_write_item(
                RequestItems={"t": [{"PutRequest": {"Item": dict(an_item("new"))}}]}
            )
            client.get_item(TableName="t", Key={"pk": {"S": "a"}})
        session.client("dynamodb").get_item(TableName="t", Key={"pk": {"S": "a"}})
    assert ledger.counted["dynamodb write units"] == ledger.written == 1 + 2 + 1
    assert ledger.units == {"t": {"table": 4}}
    assert ledger.counted["dynamodb read units"] == 0.5
    assert ledger.counted["dynamodb GetItem"] == 1
    assert [after for _, (_, after) in ledger.changes] == [
        an_item(),
        an_item("running"),
        an_item("new"),
    ]
