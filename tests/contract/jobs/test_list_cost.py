"""The cost of a page depends on its size, not on the number of the owner's jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import chain, islice
from typing import Any

from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.contract.ids import OwnerId
from comfyline.service.jobs.job import Job, Status
from tests.contract.conftest import AwsClient
from tests.support.builders import NOW, a_job, an_owner, canceled

FEW, MANY = 100, 2_000
CANCELED_SHARE = 50  # every 50th job was canceled


class Reads:
    """Counts the calls and the items that DynamoDB has read, including items filtered out."""

    def __init__(self, client: Any) -> None:
        self.calls = self.items = 0
        client.meta.events.register("after-call.dynamodb", self._count)

    def _count(self, parsed: Mapping[str, Any], **_: Any) -> None:
        self.calls += 1
        rows = parsed.get("Responses", {}).values()
        self.items += parsed.get("ScannedCount", 0) + sum(len(found) for found in rows)


def jobs_of(owner: OwnerId, number: int) -> Iterator[Job]:
    template = a_job(owner=owner)
    for n in range(number):
        job = replace(template, id=a_job().id, queued_at=NOW + timedelta(seconds=n))
        yield canceled(job) if n % CANCELED_SHARE == 0 else job


def store_all(client: Any, table: str, jobs: Iterator[Job]) -> None:
    while batch := list(islice(jobs, 25)):
        rows = [{**codec.item_of(job), "sk": {"S": "job"}} for job in batch]
        client.batch_write_item(
            RequestItems={table: [{"PutRequest": {"Item": row}} for row in rows]}
        )


def test_a_page_costs_the_same_for_any_number_of_jobs(
    aws_client: AwsClient, jobs_table: str
) -> None:
    few, many = an_owner(), an_owner()
    store_all(aws_client("dynamodb"), jobs_table, chain(jobs_of(few, FEW), jobs_of(many, MANY)))
    for status in (None, Status.CANCELED, Status.QUEUED):
        assert cost_of_page(aws_client, jobs_table, few, status) == cost_of_page(
            aws_client, jobs_table, many, status
        )


def cost_of_page(
    aws_client: AwsClient, table: str, owner: OwnerId, status: Status | None
) -> tuple[int, int]:
    client = aws_client("dynamodb")
    reads = Reads(client)
    page = DynamoJobStore(client, table).page(owner, status=status, limit=2, after=None)
    assert len(page) == 2
    return reads.calls, reads.items
