"""A page costs what it shows, not what the owner has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest

from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.contract.ids import OwnerId
from comfyline.service.jobs.job import Job, Status
from tests.contract.conftest import AwsClient, create_jobs_table
from tests.support.builders import NOW, a_job, an_owner, canceled

FEW, MANY = 100, 2_000
RARE = 50  # one job in so many was canceled


class Reads:
    """What DynamoDB has evaluated: each call, and each item whether shown or filtered out."""

    def __init__(self, client: Any) -> None:
        self.calls = self.items = 0
        client.meta.events.register("after-call.dynamodb", self._count)

    def _count(self, parsed: Mapping[str, Any], **_: Any) -> None:
        self.calls += 1
        rows = parsed.get("Responses", {}).values()
        self.items += parsed.get("ScannedCount", 0) + sum(len(found) for found in rows)


def jobs_of(owner: OwnerId, number: int) -> Iterator[Job]:
    pattern = a_job(owner=owner)
    for n in range(number):
        job = replace(pattern, id=a_job().id, queued_at=NOW + timedelta(seconds=n))
        yield canceled(job) if n % RARE == 0 else job


def store_all(client: Any, jobs: Iterator[Job]) -> None:
    while batch := list(islice(jobs, 25)):
        rows = [{**codec.item_of(job), "sk": {"S": "job"}} for job in batch]
        client.batch_write_item(RequestItems={"jobs": [{"PutRequest": {"Item": r}} for r in rows]})


@pytest.mark.timeout(600)
def test_a_page_costs_the_same_however_many_jobs_there_are(
    aws_client: AwsClient, few_and_many: tuple[OwnerId, OwnerId]
) -> None:
    for status in (None, Status.CANCELED, Status.QUEUED):
        costs = []
        for owner in few_and_many:
            client = aws_client("dynamodb")
            reads = Reads(client)
            first = DynamoJobStore(client, "jobs").page(owner, status=status, limit=2, after=None)
            assert len(first) == 2
            costs.append((reads.calls, reads.items))
        assert costs[0] == costs[1]


@pytest.fixture
def few_and_many(aws_client: AwsClient) -> tuple[OwnerId, OwnerId]:
    client, owners = aws_client("dynamodb"), (an_owner(), an_owner())
    create_jobs_table(client, "jobs")
    for owner, number in zip(owners, (FEW, MANY), strict=True):
        store_all(client, jobs_of(owner, number))
    return owners
