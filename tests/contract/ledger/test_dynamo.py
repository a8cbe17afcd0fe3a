"""How the ledger in DynamoDB spreads its sums over rows."""

from __future__ import annotations

from typing import Any

import pytest

from comfyline.adapters.aws.ledger.table import MORE_PARTS, PARTS, DynamoLedger
from comfyline.contract.ids import OwnerId
from comfyline.service.jobs.job import Job, Status
from comfyline.service.ledger.store import Usage
from tests.contract.conftest import TABLE, AwsClient, keyed
from tests.support.builders import a_job, succeeded


class Refusing:
    """A client whose transactions meet another one as often as `meetings` says."""

    def __init__(self, client: Any, meetings: int) -> None:
        self._client, self._meetings = client, meetings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, *, TransactItems: Any) -> Any:  # noqa: N803 AWS's own name
        """Write all items, or refuse all."""
        if self._meetings == 0:
            return self._client.transact_write_items(TransactItems=TransactItems)
        self._meetings -= 1
        reasons = [{"Code": "None"} for _ in TransactItems]
        raise self._client.exceptions.TransactionCanceledException(
            {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons},
            "TransactWriteItems",
        )


@pytest.fixture
def client(aws_client: AwsClient) -> Any:
    client: Any = aws_client("dynamodb")
    keyed("pk", "sk")(client, TABLE)
    return client


def ended(owner: str = "fox") -> Job:
    return succeeded(a_job(owner=OwnerId(owner)))


def rows(client: Any) -> set[str]:
    """The names of the rows with sums."""
    items = client.scan(TableName=TABLE)["Items"]
    return {item["sk"]["S"] for item in items if item["pk"]["S"] == "totals"}


def test_a_process_that_meets_no_other_uses_one_row_for_each_owner(client: Any) -> None:
    ledger = DynamoLedger(client, TABLE)
    for _ in range(10):
        ledger.count([ended("fox"), ended("owl")])
    assert rows(client) == {"fox#0", "owl#0"}


def test_a_process_uses_more_rows_after_each_meeting(client: Any) -> None:
    ledger = DynamoLedger(Refusing(client, meetings=2), TABLE, lambda _: None)
    for _ in range(100):
        ledger.count([ended()])
    # Of 16 parts, 100 random choices leave out more than half once in 10^25 runs.
    assert MORE_PARTS**2 / 2 < len(rows(client)) <= MORE_PARTS**2 <= PARTS
    assert ledger.totals().jobs[Status.SUCCEEDED] == 100


def test_owners_whose_names_begin_alike_have_usages_of_their_own(client: Any) -> None:
    ledger = DynamoLedger(client, TABLE)
    ledger.count([ended("fox"), ended("fox-2"), ended("fox-2")])
    assert [ledger.usage(OwnerId(name)).jobs for name in ("fox", "fox-2", "fo")] == [1, 2, 0]


def test_the_sums_of_older_code_are_still_read(client: Any) -> None:
    def put(pk: str, **sums: float) -> None:
        numbers = {name: {"N": str(value)} for name, value in sums.items()}
        client.put_item(TableName=TABLE, Item={"pk": {"S": pk}, "sk": {"S": "7"}, **numbers})

    put("totals", jobs_succeeded=5, gpu_seconds=50)
    put("usage#fox", jobs=3, gpu_seconds=30)
    ledger = DynamoLedger(client, TABLE)
    ledger.count([ended()])
    assert ledger.usage(OwnerId("fox")) == Usage(gpu_seconds=31.25, jobs=4)
    totals = ledger.totals()
    assert (totals.jobs[Status.SUCCEEDED], totals.gpu_seconds) == (6, 51.25)
