"""What only the DynamoDB store has: a number of calls, item sizes, TTLs, and indexes that lag."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from comfyline.adapters.aws.jobs import index as jobs_index
from comfyline.adapters.aws.jobs import siblings
from comfyline.adapters.aws.jobs.siblings import ORPHAN_MARGIN
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.contract.ids import random_job_id
from comfyline.service.graphs.text_to_image import TextToImage, text_to_image_graph
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, JobParams, JobRecord, Status
from comfyline.service.jobs.lifecycle import advance
from tests.contract.jobs.stored import LATER, NOISE, refused, saved, stored
from tests.support.builders import (
    NOW,
    PARAMS,
    a_graph,
    a_job,
    a_result,
    canceled,
    claimed,
    some_params,
)
from tests.support.due_jobs import due_jobs
from tests.support.item_size import WRITE_UNIT, item_size


class TestDynamo:
    @pytest.fixture
    def calls(self, dynamo_job_store: DynamoJobStore) -> list[str]:
        """The names of the calls that the store makes from now on."""
        made: list[str] = []

        def note(model: Any, **_: Any) -> None:
            made.append(model.name)

        dynamo_job_store._client.meta.events.register("before-call.dynamodb", note)
        return made

    def test_a_submission_and_a_replay_are_two_calls_each(
        self, dynamo_job_store: DynamoJobStore, calls: list[str]
    ) -> None:
        job = stored(dynamo_job_store, a_job())
        assert calls == ["BatchWriteItem", "PutItem"]
        replay = replace(job, queued_at=LATER)
        dynamo_job_store.put_request(replay, some_params(), a_graph())
        assert dynamo_job_store.add(replay) == job
        assert calls[2:] == ["BatchWriteItem", "PutItem"]

    def test_a_typical_request_costs_one_write_unit(self, dynamo_job_store: DynamoJobStore) -> None:
        job = a_job()
        prompt = "portrait of a red fox in fresh snow, golden hour, bokeh, 85mm, " * 2
        params = JobParams(params={**PARAMS, "prompt": prompt}, metadata={"order": "123"})
        request = TextToImage(**params.params, model="v1-5-pruned-emaonly.safetensors")
        graph = text_to_image_graph(request)
        dynamo_job_store.put_request(job, params, graph)
        (item,) = siblings_of(dynamo_job_store, job)
        assert item["sk"]["S"] == f"job#request#{job.fingerprint}"
        assert item_size(item) <= WRITE_UNIT

    @pytest.mark.parametrize("length", range(600, 1000, 10))
    def test_a_request_in_one_item_costs_one_write_unit_at_most(
        self, dynamo_job_store: DynamoJobStore, length: int
    ) -> None:
        job = a_job()
        dynamo_job_store.put_request(job, JobParams(params={}), a_graph(NOISE[:length]))
        items = siblings_of(dynamo_job_store, job)
        assert len(items) == 2 or item_size(items[0]) <= WRITE_UNIT

    def test_a_request_of_two_items_is_read(self, dynamo_job_store: DynamoJobStore) -> None:
        job = a_job()
        dynamo_job_store.add(job)
        bodies = {
            f"job#params#{job.fingerprint}": siblings.packed_params(some_params()),
            f"input#{job.fingerprint}": siblings.pack(a_graph()),
        }
        for name, body in bodies.items():
            item: Any = {"pk": {"S": job.id}, "sk": {"S": name}, "body": {"B": body}}
            dynamo_job_store._client.put_item(TableName=dynamo_job_store._table, Item=item)
        assert dynamo_job_store.read(job.id) == JobRecord(job, some_params())
        assert dynamo_job_store.graph(job) == a_graph()
        (record,) = dynamo_job_store.page(job.owner, status=None, limit=1, after=None)
        assert record.params == some_params()

    def test_reads_and_changes_are_one_call_each(
        self, dynamo_job_store: DynamoJobStore, calls: list[str]
    ) -> None:
        job = stored(dynamo_job_store, a_job())
        del calls[:]
        dynamo_job_store.read(job.id)
        dynamo_job_store.graph(job)
        dynamo_job_store.work(job.id)
        taken = dynamo_job_store.save(job, claimed(job))
        dynamo_job_store.renew(taken, LATER)
        dynamo_job_store.watch(job.id, LATER)
        dynamo_job_store.watch(job.id, NOW)
        refused(dynamo_job_store.save, job, canceled(job))
        assert calls == ["Query", "GetItem", "Query", *["UpdateItem"] * 5]

    def test_a_page_is_full_even_if_the_index_lags(
        self, dynamo_job_store: DynamoJobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second, changed = (stored(dynamo_job_store, a_job()) for _ in range(3))
        dynamo_job_store.save(changed, canceled(changed))
        lagging = [random_job_id(NOW), first.id, changed.id, second.id]
        monkeypatch.setattr(jobs_index, "listed", lambda *_: iter(lagging))
        page = dynamo_job_store.page(first.owner, status=Status.QUEUED, limit=2, after=None)
        assert [record.job for record in page] == [first, second]

    def test_a_job_that_is_no_longer_due_is_left_out_even_if_the_index_lags(
        self, dynamo_job_store: DynamoJobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = a_job()
        sent = saved(dynamo_job_store, job, advance(job, ev.TicketResent(), NOW))
        assert job.due_at is not None
        assert sent.due_at is not None
        lagging = {"0": [random_job_id(NOW), job.id]}
        monkeypatch.setattr(
            jobs_index, "due", lambda _client, _table, shard, *_: lagging.get(shard, [])
        )
        assert due_jobs(dynamo_job_store, job.due_at, settled=False) == []
        assert due_jobs(dynamo_job_store, sent.due_at, settled=False) == [sent]

    def test_sibling_items_have_a_ttl_after_the_latest_end_of_the_job(
        self, dynamo_job_store: DynamoJobStore
    ) -> None:
        job = stored(dynamo_job_store, a_job())
        dynamo_job_store.put_result(claimed(job), a_result())
        found = siblings_of(dynamo_job_store, job)
        ttls = {item["sk"]["S"]: item.get("ttl", {}).get("N") for item in found}
        expected = (job.start_deadline + job.retention + ORPHAN_MARGIN).timestamp()
        assert ttls.keys() == {
            f"job#artifacts#{job.incarnation}-1",
            f"job#request#{job.fingerprint}",
        }
        assert all(0 <= float(ttl or 0) - expected < 1 for ttl in ttls.values())


def siblings_of(store: DynamoJobStore, job: Job) -> list[Any]:
    found = store._client.query(
        TableName=store._table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": job.id}},
    )["Items"]
    return [item for item in found if item["sk"]["S"] != "job"]


def test_a_graph_that_cannot_be_read_leaves_the_row(dynamo_job_store: DynamoJobStore) -> None:
    """The worker then reads the graph alone, and its error ends the job."""
    job = stored(dynamo_job_store, a_job())
    item = {"pk": {"S": job.id}, "sk": {"S": siblings.request_sk(job)}, "body": {"B": b"damaged"}}
    dynamo_job_store._client.put_item(TableName=dynamo_job_store._table, Item=item)
    work = dynamo_job_store.work(job.id)
    assert work is not None
    assert (work.job, work.graph) == (job, None)
