"""What every Ledger knows of the months of an owner."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from comfyline.adapters.aws.ledger.table import DynamoLedger
from comfyline.contract.ids import OwnerId
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.months import MONTHS, month_of, months_before
from comfyline.service.ledger.store import Ledger, Usage
from tests.contract.conftest import TABLE, AwsClient, keyed
from tests.support.builders import a_job, an_owner, canceled, succeeded
from tests.support.item_size import WRITE_UNIT, item_size


def ended_at(time: datetime, owner: OwnerId, **overrides: Any) -> Job:
    return replace(succeeded(a_job(owner=owner)), finished_at=time, **overrides)


def at(month: str, day: int = 1) -> datetime:
    return datetime(int(month[:4]), int(month[5:]), day, 23, 59, 59, 999_999, UTC)


def test_the_months_before_one_cross_the_year() -> None:
    assert months_before("2026-02", 4) == ["2026-02", "2026-01", "2025-12", "2025-11"]


def test_a_month_is_that_of_utc() -> None:
    assert month_of(datetime.fromisoformat("2026-01-01T00:30:00+01:00")) == "2025-12"


def test_each_job_is_counted_once_in_the_month_of_its_end(ledger: Ledger) -> None:
    owner = an_owner()
    jobs = [ended_at(at(month, day), owner) for month in ("2026-01", "2026-02") for day in (1, 28)]
    others = [ended_at(at("2026-01"), an_owner()), canceled(a_job(owner=owner))]
    ledger.count([*jobs[:3], *others])
    ledger.count(jobs)
    found = ledger.usage_by_month(owner)
    assert found.months == {"2026-01": Usage(2.5, 2), "2026-02": Usage(2.5, 2)}
    assert found.total == ledger.usage(owner) == Usage(5.0, 4)
    assert ledger.usage_by_month(an_owner()).months == {}


class TestRow:
    """In DynamoDB the months are in the row of the sums, which must stay below a write unit."""

    def row(self, client: Any) -> Any:
        items = client.scan(TableName=TABLE)["Items"]
        (found,) = (item for item in items if item["pk"]["S"] == "totals")
        return found

    def test_ten_years_of_an_owner_with_a_long_name_fit(self, aws_client: AwsClient) -> None:
        client: Any = aws_client("dynamodb")
        keyed("pk", "sk")(client, TABLE)
        ledger, owner = DynamoLedger(client, TABLE), OwnerId("o" * 64)
        months = months_before("2035-12", 120)[::-1]
        for month in months:
            ledger.count([ended_at(at(month), owner, gpu_seconds=123_456.789)])
        numbers = {"N": "1234567890.123456"}
        sums = {f"{kind}_{end}" for kind in ("wait", "duration") for end in (1200, 300, "seconds")}
        full = dict.fromkeys(sums | {f"jobs_{n}" for n in ("canceled", "expired")}, numbers)
        assert item_size({**self.row(client), **full}) < WRITE_UNIT
        kept = ledger.usage_by_month(owner)
        assert sorted(kept.months) == months[-MONTHS:]
        assert kept.total.jobs == 120

    def test_a_job_that_is_counted_late_does_not_remove_newer_months(
        self, aws_client: AwsClient
    ) -> None:
        client: Any = aws_client("dynamodb")
        keyed("pk", "sk")(client, TABLE)
        ledger, owner = DynamoLedger(client, TABLE), an_owner()
        for months in (["2026-06"], ["2024-01", "2025-03", "2026-05"], ["2025-01"]):
            jobs = [ended_at(at(month), owner) for month in months]
            assert ledger.count(jobs) == jobs
        assert {"2026-06", "2026-05"} <= set(ledger.usage_by_month(owner).months)
