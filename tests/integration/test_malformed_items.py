"""One bad item cannot stop the rest: each consumer gets a hundred of them between good ones.

A good item is handled in the same round, and a bad one is set aside: it does not come again.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.queue import job_id_of
from comfyline.contract.ids import JobId, KeyId, OwnerId, random_job_id
from comfyline.service.access.keys import ApiKey
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.store import other_quarantines, quarantine
from comfyline.service.queue.lanes import Priority
from tests.support.builders import FrozenClock, a_job, running
from tests.support.gateway import Gateway
from tests.support.malformed import malformed_row, malformed_ticket

OWNER = OwnerId("fox")
BAD = 100
GOOD = 10


class Table:
    """The jobs table of a service, into which anything can be put."""

    def __init__(self, gateway: Gateway, clock: FrozenClock) -> None:
        self._gateway, self._clock = gateway, clock
        self._client = gateway.aws.client("dynamodb")

    def put_good(self) -> Job:
        job = self._new()
        assert self._gateway.aws.jobs.add(job) is None
        return job

    def put_bad(self, n: int) -> JobId:
        job = self._new()
        self.put(malformed_row(row_of(job), n))
        return job.id

    def put(self, row: dict[str, Any]) -> None:
        self._client.put_item(TableName="jobs", Item=row)

    def row(self, job_id: JobId) -> dict[str, Any]:
        key = {"pk": {"S": job_id}, "sk": {"S": "job"}}
        item: dict[str, Any] = self._client.get_item(TableName="jobs", Key=key)["Item"]
        return item

    def _new(self) -> Job:
        return a_job(id=random_job_id(self._clock()), queued_at=self._clock(), owner=OWNER)


@pytest.fixture
def table(gateway: Gateway, clock: FrozenClock) -> Table:
    return Table(gateway, clock)


def row_of(job: Job) -> dict[str, Any]:
    return {**codec.item_of(job), "sk": {"S": "job"}}


def mixed(table: Table) -> tuple[list[Job], list[JobId]]:
    """Good jobs between bad rows."""
    good, bad = list[Job](), list[JobId]()
    for n in range(BAD):
        bad.append(table.put_bad(n))
        if n % (BAD // GOOD) == 0:
            good.append(table.put_good())
    return good, bad


def record(before: dict[str, Any], after: dict[str, Any], number: int) -> dict[str, Any]:
    """A record of the stream, as Lambda delivers it: JSON."""
    keys = {"pk": after.get("pk"), "sk": {"S": "job"}}
    images = {"OldImage": before, "NewImage": after}
    text = json.dumps(
        {
            "eventName": "MODIFY",
            "dynamodb": {"Keys": keys, "SequenceNumber": str(number), **images},
        },
        default=lambda data: data.decode("latin-1"),
    )
    loaded: dict[str, Any] = json.loads(text)
    return loaded


class TestSweeper:
    def test_good_jobs_are_repaired_and_bad_rows_come_only_once(
        self, gateway: Gateway, clock: FrozenClock, table: Table
    ) -> None:
        good, bad = mixed(table)
        clock.advance(timedelta(minutes=1))
        done = gateway.call("SweepJobs", {})
        assert (done["TicketResent"], done["SetAside"]) == (len(good), len(bad))
        assert {table.row(job_id)["due_shard"]["S"] for job_id in bad} == {quarantine()}
        clock.advance(timedelta(hours=2))
        again = gateway.call("SweepJobs", {})
        assert again.get("SetAside", 0) == 0
        assert again["TicketResent"] == len(good)

    def test_a_void_key_is_read_beside_bad_ones(self, gateway: Gateway, clock: FrozenClock) -> None:
        keys, client = gateway.aws.keys, gateway.aws.client("dynamodb")
        good = ApiKey(
            id=KeyId("k1"), secret_sha256="x", owner=OWNER, scopes=frozenset(), created_at=clock()
        )
        keys.put(good)
        for n in range(BAD):
            item = {"pk": {"S": f"bad{n}"}, "secret_sha256": {"S": "x"}, "scopes": {"S": "jobs"}}
            client.put_item(TableName="keys", Item=item)
        names: Any = [f"bad{n}" for n in range(BAD)] + ["k1"]
        assert keys.get_many(names) == [good]
        assert keys.all() == [good]

    def test_code_of_another_schema_finds_rows_in_quarantine(
        self, gateway: Gateway, clock: FrozenClock, table: Table
    ) -> None:
        job = table.put_good()
        shard = other_quarantines()[0]
        table.put(row_of(job) | {"due_shard": {"S": shard}})
        clock.advance(timedelta(minutes=1))
        assert gateway.call("SweepJobs", {}) == {"TicketResent": 1}
        assert table.row(job.id)["due_shard"] == codec.item_of(job)["due_shard"]


def test_a_list_shows_the_good_jobs(gateway: Gateway, table: Table) -> None:
    good, bad = mixed(table)
    store = gateway.aws.jobs
    page = store.page(good[0].owner, status=None, limit=100, after=None)
    assert {each.job.id for each in page} == {job.id for job in good}
    assert len(store.get_many([*bad, *(job.id for job in good)])) == len(good)


def test_no_row_raises_anything_else_than_unreadable(clock: FrozenClock) -> None:
    row = row_of(running(a_job(queued_at=clock())))
    for n in range(1_000):
        codec.readable(malformed_row(row, n))
    for item in ({}, [], None, 7, {"pk": 1}, {"schema": "x"}):
        codec.readable(item)  # type: ignore[arg-type]


class TestTickets:
    def test_the_good_ones_are_received_and_the_bad_ones_are_deleted(
        self, gateway: Gateway, table: Table
    ) -> None:
        queue, sqs = gateway.aws.queue, gateway.aws.client("sqs")
        url = sqs.get_queue_url(QueueName=Priority.NORMAL.value)["QueueUrl"]
        good = set[str]()
        for n in range(BAD):
            sqs.send_message(QueueUrl=url, MessageBody=malformed_ticket(n), MessageGroupId="fox")
            if n % (BAD // GOOD) == 0:
                job = table.put_good()
                queue.send(job.id, job.owner, Priority.NORMAL)
                good.add(job.id)
        received = set[str]()
        for _ in range(BAD):
            for ticket in queue.receive(Priority.NORMAL, wait_seconds=0, limit=10):
                received.add(ticket.job_id)
                queue.delete(ticket)
        assert received == good
        assert queue.depth(Priority.NORMAL) == queue.in_flight(Priority.NORMAL) == 0

    def test_no_message_raises_anything(self) -> None:
        assert {job_id_of(malformed_ticket(n)) for n in range(1_000)} == {None}


def test_dead_letters(gateway: Gateway, clock: FrozenClock, table: Table) -> None:
    good, bad = mixed(table)
    bodies = [malformed_ticket(n) for n in range(BAD)]
    bodies += [json.dumps({"schema": 1, "job_id": job_id}) for job_id in bad]
    bodies += [json.dumps({"schema": 1, "job_id": job.id}) for job in good]
    records = [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]
    clock.advance(timedelta(minutes=1))
    assert gateway.call("RedriveTickets", {"Records": records}) == {"batchItemFailures": []}
    assert gateway.aws.queue.depth(Priority.NORMAL) == len(good)


def ends(gateway: Gateway, table: Table, clock: FrozenClock) -> tuple[list[dict[str, Any]], int]:
    """Records of ended jobs between bad records; and how many have ended."""
    records, good = list[dict[str, Any]](), 0
    for n in range(BAD):
        job = running(a_job(id=random_job_id(clock()), queued_at=clock()))
        records.append(record(row_of(job), malformed_row(row_of(job), n), len(records)))
        if n % (BAD // GOOD) == 0:
            before = running(table.put_good())
            after = advance(before, ev.Succeeded(attempt=1, gpu_seconds=1.0), clock())
            table.put(row_of(after))
            records.append(record(row_of(before), row_of(after), len(records)))
            good += 1
    return records, good


def test_settlement(gateway: Gateway, clock: FrozenClock, table: Table) -> None:
    url = gateway.aws.client("sqs").create_queue(QueueName="parking")["QueueUrl"]
    gateway.environ = {**gateway.environ, "PARKING_QUEUE_URL": url}
    records, good = ends(gateway, table, clock)
    records += [{"dynamodb": 7}, {"dynamodb": {"SequenceNumber": "1", "NewImage": []}}, {}]  # type: ignore[dict-item]
    answer = gateway.call("SettleJobs", {"Records": records})
    assert answer == {"batchItemFailures": []}
    assert gateway.aws.ledger.totals().jobs[Status.SUCCEEDED] == good


def test_live_updates(gateway: Gateway, clock: FrozenClock, table: Table) -> None:
    records, _ = ends(gateway, table, clock)
    answer = gateway.call("PushUpdates", {"Records": [*records, {"dynamodb": 7}, {}]})
    assert answer == {"batchItemFailures": []}
