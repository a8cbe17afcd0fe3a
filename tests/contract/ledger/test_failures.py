"""What every Ledger knows of the failures of jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from comfyline.adapters.aws.ledger.table import DynamoLedger
from comfyline.contract.ids import OwnerId, random_job_id
from comfyline.service.jobs.job import Job, JobError
from comfyline.service.ledger.failures import (
    BUCKETS,
    KINDS_PER_BUCKET,
    MAX_SAMPLES,
    OTHER,
    Kind,
    Sample,
    bucket_of,
    days_until,
)
from comfyline.service.ledger.store import Ledger, counted_together
from tests.contract.conftest import TABLE, AwsClient, keyed
from tests.support.builders import NOW, a_job, an_owner, canceled, failed, succeeded

TODAY = [date(2026, 3, 1)]
BOOM = JobError(type="node_error", message="no", node_type="KSampler", engine_version="e1")
HOUR = timedelta(hours=1)


def a_failure(error: JobError = BOOM, after: timedelta = timedelta(), **overrides: Any) -> Job:
    # The ids that `random_job_id` makes in one millisecond differ.
    return replace(failed(a_job(**overrides), error), finished_at=NOW + after)


def test_without_failures_there_are_no_groups(ledger: Ledger) -> None:
    ledger.count([succeeded(a_job()), canceled(a_job())])
    assert ledger.failures(TODAY) == []


def test_each_failure_is_in_its_group_once(ledger: Ledger) -> None:
    first, last = a_failure(after=HOUR), a_failure(after=2 * HOUR)
    others = [replace(BOOM, node_type="VAEDecode"), replace(BOOM, engine_version="e2")]
    others.append(JobError(type="lease_lost", message="gone"))
    ledger.count([first, last, first, *map(a_failure, others)])
    ledger.count([last, first])
    found = {group.kind: group for group in ledger.failures(TODAY)}
    assert found.keys() == {
        Kind("node_error", "KSampler", "e1"),
        Kind("node_error", "VAEDecode", "e1"),
        Kind("node_error", "KSampler", "e2"),
        Kind("lease_lost"),
    }
    group = found[Kind("node_error", "KSampler", "e1")]
    assert (group.jobs, group.first_at, group.last_at) == (2, NOW + HOUR, NOW + 2 * HOUR)
    assert {sample.owner for sample in group.samples} <= {first.owner, last.owner}


def test_the_most_frequent_group_comes_first_and_has_few_samples(ledger: Ledger) -> None:
    often = [a_failure() for _ in range(40)]
    rare = a_failure(replace(BOOM, type="out_of_memory"))
    ledger.count([rare])
    for job in often:
        ledger.count([job])
    first, second = ledger.failures(TODAY)
    assert (first.jobs, second.jobs) == (40, 1)
    # Forty jobs leave one of five places free once in 1,500 runs.
    assert MAX_SAMPLES - 1 <= len(first.samples) <= MAX_SAMPLES
    assert {sample.job_id for sample in first.samples} <= {job.id for job in often}
    assert second.samples == (Sample(rare.id, rare.owner),)


def test_groups_of_several_days_are_one(ledger: Ledger) -> None:
    ledger.count([a_failure(after=timedelta(days=days)) for days in (0, 1, 1, 40)])
    (group,) = ledger.failures(days_until(NOW + timedelta(days=1), 30))
    assert (group.jobs, group.first_at, group.last_at) == (3, NOW, NOW + timedelta(days=1))
    assert [group.jobs for group in ledger.failures(TODAY)] == [1]


def test_made_up_node_classes_make_a_bounded_number_of_groups(ledger: Ledger) -> None:
    attacker = an_owner()
    honest = next(
        owner for owner in iter(an_owner, None) if bucket_of(owner) != bucket_of(attacker)
    )
    for n in range(2 * KINDS_PER_BUCKET):
        error = replace(BOOM, node_type=f"{n}" + "\N{BLACK HEART SUIT}" * 3_000)
        ledger.count([a_failure(error, owner=attacker)])
    ledger.count([a_failure(owner=honest)])
    found = {group.kind: group.jobs for group in ledger.failures(TODAY)}
    assert len(found) == KINDS_PER_BUCKET + 2
    assert found[OTHER] == KINDS_PER_BUCKET
    assert found[Kind("node_error", "KSampler", "e1")] == 1


def test_many_failures_of_many_owners_are_counted_in_few_calls(ledger: Ledger) -> None:
    jobs = [
        a_failure(replace(BOOM, node_type=str(n)), owner=OwnerId(f"owner-{n}")) for n in range(120)
    ]
    assert [len(part) for part in counted_together(jobs)] == [33, 33, 33, 21]
    assert ledger.count(jobs) == jobs
    assert sum(group.jobs for group in ledger.failures(TODAY)) == 120


class TestRows:
    """In DynamoDB a group must be as small as it says, and be removed."""

    @pytest.fixture
    def client(self, aws_client: AwsClient) -> Any:
        client: Any = aws_client("dynamodb")
        keyed("pk", "sk")(client, TABLE)
        return client

    def rows(self, client: Any) -> list[Any]:
        items = client.scan(TableName=TABLE)["Items"]
        return [item for item in items if item["pk"]["S"].startswith("errors#")]

    def test_every_row_has_a_ttl_of_31_days(self, client: Any) -> None:
        DynamoLedger(client, TABLE).count([a_failure()])
        midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
        ends_at = str(int((midnight + timedelta(days=31)).timestamp()))
        assert [row["ttl"]["N"] for row in self.rows(client)] == [ends_at] * 2

    def test_a_process_asks_once_for_each_kind(self, client: Any) -> None:
        asked: list[Any] = []
        update = client.update_item
        client.update_item = lambda **request: asked.append(request) or update(**request)
        ledger = DynamoLedger(client, TABLE)
        for _ in range(5):
            ledger.count([a_failure(owner=OwnerId("fox"))])
        ledger.count([succeeded(a_job())])
        assert len(asked) == 1

    def test_two_processes_admit_the_same_kinds(self, client: Any) -> None:
        ledgers = [DynamoLedger(client, TABLE) for _ in range(2)]
        for n in range(KINDS_PER_BUCKET + 10):
            error = replace(BOOM, node_type=str(n))
            for ledger in ledgers[:: 1 if n % 2 else -1]:
                ledger.count([a_failure(error, owner=OwnerId("fox"))])
        found = {group.kind: group.jobs for group in ledgers[0].failures(TODAY)}
        assert found.pop(OTHER) == 20
        assert set(found.values()) == {2}
        assert len(found) == KINDS_PER_BUCKET


def test_buckets_are_few_and_used() -> None:
    buckets = {bucket_of(OwnerId(random_job_id(NOW))) for _ in range(500)}
    assert buckets == set(range(BUCKETS))
