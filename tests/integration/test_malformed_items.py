"""One bad item cannot stop the rest: each consumer gets many of them between good ones.

Every good item is handled in the same round. Each bad one is logged, counted and set aside once: it
does not come again. There are 100 bad items, and 1,000 with --long.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from comfyline.adapters.aws.fleet.presence import WORKERS, DynamoPresenceStore
from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.jobs.parking import parked_step
from comfyline.adapters.aws.queue import job_id_of
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.contract.ids import JobId, KeyId, OwnerId, random_job_id, random_worker_id
from comfyline.service.access.keys import ApiKey
from comfyline.service.errors import Unreadable
from comfyline.service.fleet.workers import Presence
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.store import other_quarantines, quarantine
from comfyline.service.metrics import Metric
from comfyline.service.queue.lanes import Priority
from tests.support.builders import FrozenClock, a_job, running
from tests.support.gateway import Gateway
from tests.support.malformed import (
    malformed_parked,
    malformed_record,
    malformed_report,
    malformed_row,
    malformed_ticket,
)

OWNER = OwnerId("fox")
GOOD = 10


@pytest.fixture
def bad_items(is_long: bool) -> int:
    """How many bad items a consumer gets."""
    return 1_000 if is_long else 100


@pytest.fixture
def metrics() -> InMemoryMetrics:
    return InMemoryMetrics()


@pytest.fixture
def service(gateway: Gateway, metrics: InMemoryMetrics) -> Gateway:
    """The functions, with metrics that a test can read and a queue for what is parked."""
    url = gateway.client("sqs").create_queue(QueueName="parking")["QueueUrl"]
    gateway.environ = {**gateway.environ, "PARKING_QUEUE_URL": url}
    return gateway.altered(metrics=metrics)


class Log:
    """The log lines of a test, counted by action."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def count(self, action: str) -> int:
        """The number of lines since the last call."""
        found = Counter(getattr(record, "action", None) for record in self._caplog.records)
        self._caplog.clear()
        return found[action]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    return Log(caplog)


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

    def mixed(self, bad: int) -> tuple[list[Job], list[JobId]]:
        """Good jobs between bad rows."""
        good, malformed = list[Job](), list[JobId]()
        for n in range(bad):
            malformed.append(self.put_bad(n))
            if n % (bad // GOOD) == 0:
                good.append(self.put_good())
        return good, malformed

    def _new(self) -> Job:
        return a_job(id=random_job_id(self._clock()), queued_at=self._clock(), owner=OWNER)


@pytest.fixture
def table(service: Gateway, clock: FrozenClock) -> Table:
    return Table(service, clock)


def row_of(job: Job) -> dict[str, Any]:
    return {**codec.item_of(job), "sk": {"S": "job"}}


def record_of(before: Job, after: Job, number: int) -> dict[str, Any]:
    """A record of the stream, as Lambda delivers it."""
    keys = {"pk": {"S": after.id}, "sk": {"S": "job"}}
    change = {"Keys": keys, "OldImage": row_of(before), "NewImage": row_of(after)}
    return {"eventName": "MODIFY", "dynamodb": change | {"SequenceNumber": str(number)}}


class TestSweeper:
    def test_good_jobs_are_repaired_and_bad_rows_come_only_once(
        self,
        service: Gateway,
        clock: FrozenClock,
        table: Table,
        bad_items: int,
        metrics: InMemoryMetrics,
        log: Log,
    ) -> None:
        good, bad = table.mixed(bad_items)
        clock.advance(timedelta(minutes=1))
        done = service.call("SweepJobs", {})
        assert (done["TicketResent"], done["SetAside"]) == (len(good), len(bad))
        assert {table.row(job_id)["due_shard"]["S"] for job_id in bad} == {quarantine()}
        assert log.count("row_unreadable") == metrics.sum(Metric.ITEMS_UNREADABLE) == len(bad)
        clock.advance(timedelta(hours=2))
        again = service.call("SweepJobs", {})
        assert again.get("SetAside", 0) == 0
        assert again["TicketResent"] == len(good)
        assert log.count("row_unreadable") == 0
        assert metrics.sum(Metric.ITEMS_UNREADABLE) == len(bad)

    def test_a_void_key_is_read_beside_bad_ones(
        self, service: Gateway, clock: FrozenClock, bad_items: int
    ) -> None:
        keys, client = service.aws.keys, service.aws.client("dynamodb")
        good = ApiKey(
            id=KeyId("k1"), secret_sha256="x", owner=OWNER, scopes=frozenset(), created_at=clock()
        )
        keys.put(good)
        for n in range(bad_items):
            item = {"pk": {"S": f"bad{n}"}, "secret_sha256": {"S": "x"}, "scopes": {"S": "jobs"}}
            client.put_item(TableName="keys", Item=item)
        names: Any = [f"bad{n}" for n in range(bad_items)] + ["k1"]
        assert keys.get_many(names) == [good]
        assert keys.all() == [good]

    def test_code_of_another_schema_finds_rows_in_quarantine(
        self, service: Gateway, clock: FrozenClock, table: Table
    ) -> None:
        job = table.put_good()
        shard = other_quarantines()[0]
        table.put(row_of(job) | {"due_shard": {"S": shard}})
        clock.advance(timedelta(minutes=1))
        assert service.call("SweepJobs", {}) == {"TicketResent": 1}
        assert table.row(job.id)["due_shard"] == codec.item_of(job)["due_shard"]


def test_the_api_shows_the_good_jobs(
    service: Gateway, table: Table, bad_items: int, log: Log
) -> None:
    good, bad = table.mixed(bad_items)
    answer = service("GET", "/api/v1/jobs?limit=100")
    assert {job["job_id"] for job in answer.json["jobs"]} == {job.id for job in good}
    assert log.count("row_unreadable") > 0
    assert {service("GET", f"/api/v1/jobs/{job.id}").status for job in good} == {200}
    assert {service("GET", f"/api/v1/jobs/{job_id}").status for job_id in bad[:20]} <= {404, 500}
    assert len(service.aws.jobs.get_many([*bad, *(job.id for job in good)])) == len(good)


def test_no_row_raises_anything_else_than_unreadable(clock: FrozenClock) -> None:
    row = row_of(running(a_job(queued_at=clock())))
    for n in range(2_000):
        codec.readable(malformed_row(row, n))
        with pytest.raises(Unreadable):
            codec.job_of(malformed_row(row, n))
    for item in ({}, [], None, 7, {"pk": 1}, {"schema": "x"}):
        codec.readable(item)  # type: ignore[arg-type]


class TestTickets:
    def test_the_good_ones_are_received_and_the_bad_ones_are_deleted(
        self, service: Gateway, table: Table, bad_items: int, log: Log
    ) -> None:
        queue, sqs = service.aws.queue, service.aws.client("sqs")
        url = sqs.get_queue_url(QueueName=Priority.NORMAL.value)["QueueUrl"]
        good = set[str]()
        for n in range(bad_items):
            sqs.send_message(QueueUrl=url, MessageBody=malformed_ticket(n), MessageGroupId="fox")
            if n % (bad_items // GOOD) == 0:
                job = table.put_good()
                queue.send(job.id, job.owner, Priority.NORMAL)
                good.add(job.id)
        received = set[str]()
        while queue.depth(Priority.NORMAL):  # moto takes longer for each message that is left
            for ticket in queue.receive(Priority.NORMAL, wait_seconds=0, limit=10):
                received.add(ticket.job_id)
                queue.delete(ticket)
        assert received == good
        assert log.count("ticket_unreadable") == bad_items
        assert queue.depth(Priority.NORMAL) == queue.in_flight(Priority.NORMAL) == 0

    def test_no_message_raises_anything(self) -> None:
        assert {job_id_of(malformed_ticket(n)) for n in range(1_000)} == {None}

    def test_dead_letters(
        self,
        service: Gateway,
        clock: FrozenClock,
        table: Table,
        bad_items: int,
        metrics: InMemoryMetrics,
        log: Log,
    ) -> None:
        good, bad = table.mixed(bad_items)
        bodies = [malformed_ticket(n) for n in range(bad_items)]
        bodies += [json.dumps({"schema": 1, "job_id": job_id}) for job_id in bad]
        bodies += [json.dumps({"schema": 1, "job_id": job.id}) for job in good]
        records = [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]
        clock.advance(timedelta(minutes=1))
        assert service.call("RedriveTickets", {"Records": records}) == {"batchItemFailures": []}
        assert service.aws.queue.depth(Priority.NORMAL) == len(good)
        assert metrics.sum(Metric.ITEMS_UNREADABLE) == bad_items
        assert log.count("ticket_unreadable") == bad_items


class TestStream:
    def ends(self, table: Table, clock: FrozenClock, bad: int) -> Iterator[tuple[Any, bool]]:
        """Records of ended jobs between bad records, and whether they are good."""
        for n in range(bad):
            before = running(a_job(id=random_job_id(clock()), queued_at=clock()))
            after = advance(before, ev.Succeeded(attempt=1, gpu_seconds=1.0), clock())
            yield malformed_record(record_of(before, after, 2 * n), n), False
            if n % (bad // GOOD) == 0:
                before = running(table.put_good())
                after = advance(before, ev.Succeeded(attempt=1, gpu_seconds=1.0), clock())
                table.put(row_of(after))
                yield record_of(before, after, 2 * n + 1), True

    @pytest.mark.parametrize(("function", "counted"), [("SettleJobs", GOOD), ("PushUpdates", 0)])
    def test_bad_records_stop_no_reader(
        self,
        service: Gateway,
        clock: FrozenClock,
        table: Table,
        bad_items: int,
        metrics: InMemoryMetrics,
        log: Log,
        function: str,
        counted: int,
    ) -> None:
        """`counted`: the good ends of which the function keeps account."""
        records = [record for record, _ in self.ends(table, clock, bad_items)]
        answer = service.call(function, {"Records": records})
        assert answer == {"batchItemFailures": []}
        totals = service.aws.ledger.totals()
        assert (totals.jobs[Status.SUCCEEDED], totals.gpu_seconds) == (counted, counted)
        assert metrics.sum(Metric.ITEMS_UNREADABLE) == bad_items
        assert log.count("record_unreadable") == bad_items


class TestParking:
    def test_good_steps_are_done_and_bad_messages_are_dropped(
        self,
        service: Gateway,
        clock: FrozenClock,
        table: Table,
        bad_items: int,
        metrics: InMemoryMetrics,
        log: Log,
    ) -> None:
        bodies, good = list[str](), list[Job]()
        for n in range(bad_items):
            bodies.append(malformed_parked(n))
            if n % (bad_items // GOOD) == 0:
                job = running(table.put_good())
                job = advance(job, ev.Succeeded(attempt=1, gpu_seconds=1.0), clock())
                table.put(row_of(job))
                good.append(job)
                step = {"schema": 1, "step": "count", "job_id": job.id}
                bodies.append(json.dumps(step | {"incarnation": job.incarnation}))
        records = [
            {"eventSource": "aws:sqs", "messageId": f"m{n}", "body": body}
            for n, body in enumerate(bodies)
        ]
        answer = service.call("SettleJobs", {"Records": records})
        assert answer == {"batchItemFailures": []}
        assert service.aws.ledger.totals().jobs[Status.SUCCEEDED] == len(good)
        assert metrics.sum(Metric.ITEMS_UNREADABLE) == bad_items
        assert log.count("message_unreadable") == bad_items

    def test_no_message_raises_anything_else_than_unreadable(self) -> None:
        for n in range(1_000):
            with pytest.raises(Unreadable):
                parked_step(malformed_parked(n))


class TestReports:
    def test_the_scaler_and_the_metrics_count_the_good_reports(
        self, service: Gateway, clock: FrozenClock, bad_items: int, log: Log
    ) -> None:
        client = service.aws.client("dynamodb")
        reports = DynamoPresenceStore(client, "jobs")
        until = clock() + timedelta(minutes=1)
        for n in range(bad_items):
            worker = random_worker_id()
            reports.put(Presence(worker, 1, until, held_jobs=1))
            if n % (bad_items // GOOD):
                key = {"pk": WORKERS, "sk": {"S": worker}}
                good = client.get_item(TableName="jobs", Key=key)["Item"]
                client.put_item(TableName="jobs", Item=malformed_report(good, n))
        active = reports.active(clock())
        assert [report.running_jobs for report in active] == [1] * GOOD
        assert log.count("item_unreadable") == bad_items - GOOD
        admin = {"requestContext": {"requestId": "r", "authorizer": {"lambda": ADMIN}}}
        answer = service.call("GetMetrics", {**admin, "headers": {}})
        assert answer["statusCode"] == 200
        assert f"comfyui_active_workers {GOOD}.0" in answer["body"]


ADMIN = {"owner": "fox", "key_id": "k", "scopes": "admin"}
