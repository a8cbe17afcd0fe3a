"""What DynamoDB charges for a write, and that the page of costs adds up."""

from __future__ import annotations

import re
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from bench.calls import Ledger, Row, size_of, write_units

BY_STATUS = {"by_status": ["owner", "status"]}
PAGE = (Path(__file__).parents[3] / "docs" / "cost.md").read_text()


def row(status: str = "queued", text: str = "") -> Row:
    return {"pk": {"S": "a"}, "owner": {"S": "o"}, "status": {"S": status}, "text": {"S": text}}


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        (None, row(), 2),  # the row and its entry
        (row(), row(text="more"), 1),  # the entry stays
        (row(), row("running"), 3),  # an entry goes, another comes
        (row(), None, 2),
        (None, None, 1),  # refused by its condition, and paid for
        (row(text="x" * 2000), row(), 2),  # the larger of both
    ],
)
def test_write_units(before: Row | None, after: Row | None, units: int) -> None:
    assert write_units(before, after, BY_STATUS).total() == units


def test_units_are_told_by_table_and_index() -> None:
    assert write_units(row(), row("running"), BY_STATUS) == {"table": 1, "by_status": 2}


def test_sizes() -> None:
    assert size_of({"name": {"S": "four"}}) == 8
    assert size_of({"n": {"L": [{"S": "ab"}]}, "b": {"B": b"123"}}) == 1 + 3 + 3 + 1 + 3


def test_calls_are_counted_and_the_counting_is_not() -> None:
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
            client.put_item(TableName="t", Item=dict(row()))
            client.transact_write_items(
                TransactItems=[{"Put": {"TableName": "t", "Item": dict(row("running"))}}]
            )
            client.batch_write_item(
                RequestItems={"t": [{"PutRequest": {"Item": dict(row("new"))}}]}
            )
            client.get_item(TableName="t", Key={"pk": {"S": "a"}})
        session.client("dynamodb").get_item(TableName="t", Key={"pk": {"S": "a"}})
    assert ledger.counted["dynamodb", "write units"] == ledger.written == 1 + 2 + 1
    assert ledger.units == {"t": {"table": 4}}
    assert ledger.counted["dynamodb", "read units"] == 0.5
    assert ledger.counted["dynamodb", "GetItem"] == 1
    assert [after for _, (_, after) in ledger.changes] == [row(), row("running"), row("new")]


def test_the_page_keeps_its_goals() -> None:
    assert re.search(r"The control plane of 1M jobs: \$[\d.]+, within the goal", PAGE)
    assert re.search(r"an idle month: \$[\d.]+, within the goal", PAGE)


def test_each_table_of_the_page_adds_up() -> None:
    for part in [part for part in PAGE.split("\n## ")[1:] if "$" in part.partition("| --- |")[0]]:
        rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line[:1] == "|"]
        amounts = [float(cells[-1]) for cells in rows[2:-1]]
        assert amounts
        (total,) = re.findall(r"\*\*([\d.]+)\*\* \|", part)
        assert sum(amounts) == pytest.approx(float(total), abs=0.005 * len(amounts))


def test_the_steps_of_the_page_come_to_its_write_units() -> None:
    (part,) = re.findall(r"^\| step \|.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    rows = [line.strip("| ").split(" | ")[1:] for line in part.splitlines()[2:-1]]
    (units,) = re.findall(r"\| DynamoDB \| write units \| ([\d.]+) \|", PAGE.split("\n## ")[1])
    assert sum(float(cell) for row in rows for cell in row) == pytest.approx(float(units), abs=0.1)
