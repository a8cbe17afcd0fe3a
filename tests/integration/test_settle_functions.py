"""settle_jobs on AWS tables and queues: stream records, parked messages, the call of the scaler.

The file has more than 300 lines because all tests share the `Service` at its top.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from comfyline.adapters.aws.jobs import codec
from comfyline.service.access.slots import Limits
from comfyline.service.errors import Unavailable
from comfyline.service.fleet.scaling import Need
from comfyline.service.fleet.wake import MAX_AGE, WAKE_INTERVAL
from comfyline.service.fleet.workers import Recent
from comfyline.service.intake.admit import slot_of
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.lifecycle import advance
from functions import settle_jobs
from functions._wiring import Wiring
from tests.support.aws import REGION, create_jobs_table, create_table
from tests.support.builders import FrozenClock, a_job, claimed, running
from tests.support.gateway import AlteredAws

ONE_JOB = Limits(max_active_jobs=1)
DONE = {"batchItemFailures": list[dict[str, str]]()}


def failed(*numbers: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers]}


class Service:
    """settle_jobs over moto; its asynchronous calls are kept in `calls`."""

    def __init__(self, clients: Mapping[str, Any], queue_url: str, **adapters: Any) -> None:
        self.clients, self.queue_url = clients, queue_url
        self.calls: list[dict[str, Any]] = []
        self.clock = FrozenClock()
        self.altered(**adapters)

    def altered(self, **adapters: Any) -> None:
        """From now on the function has these adapters."""
        environ = {
            "JOBS_TABLE": "jobs",
            "OWNERS_TABLE": "owners",
            "PARKING_QUEUE_URL": self.queue_url,
            "SCALING_TABLE": "scaling",
            "SCALER_FUNCTION": "scaler",
            "METRICS_NAMESPACE": "Comfyline/test",
        }
        clients = {**self.clients, "lambda": self}
        self.aws = AlteredAws(environ, lambda name, _=None: clients[name], **adapters)
        self.wiring = Wiring(environ, self.clock, aws=self.aws)

    def invoke(self, **call: Any) -> None:
        """Lambda's client: a call that does not wait."""
        self.calls.append(call)

    def settle(self, *records: dict[str, Any]) -> Any:
        return settle_jobs.handler({"Records": records}, None, self.wiring)

    def deliver_parked(self) -> Any:
        """The queue delivers its messages, and deletes those that succeed; returns the rest."""
        sqs = self.clients["sqs"]
        found = sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10)
        messages = found.get("Messages", [])
        records = [
            {"eventSource": "aws:sqs", "messageId": m["MessageId"], "body": m["Body"]}
            for m in messages
        ]
        answer = self.settle(*records)
        failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
        for message in messages:
            receipt = message["ReceiptHandle"]
            if message["MessageId"] not in failed:
                sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=receipt)
            else:
                sqs.change_message_visibility(
                    QueueUrl=self.queue_url, ReceiptHandle=receipt, VisibilityTimeout=0
                )
        return len(failed)

    def parked(self) -> int:
        name = "ApproximateNumberOfMessages"
        answer = self.clients["sqs"].get_queue_attributes(
            QueueUrl=self.queue_url, AttributeNames=[name]
        )
        return int(answer["Attributes"][name])

    def new_job(self, **fields: Any) -> Job:
        job = a_job(queued_at=self.clock(), **fields)
        self.aws.jobs.add(job)
        return job

    def ended(self, **fields: Any) -> tuple[dict[str, Any], Job]:
        """A job that a worker has ended, and the record of its end."""
        job = self.new_job(**fields)
        before = running(job)
        after = advance(before, ev.Succeeded(attempt=1, gpu_seconds=1.5), self.clock())
        return record(before, self.aws.jobs.save(job, after)), after

    def row(self, job: Job) -> Job:
        row = self.aws.jobs.get(job.id)
        assert row is not None
        return row

    def counted(self) -> int:
        return self.aws.ledger.totals().jobs[Status.SUCCEEDED]


@pytest.fixture
def service() -> Iterator[Service]:
    with mock_aws():
        dynamodb, sqs = boto3.client("dynamodb", REGION), boto3.client("sqs", REGION)
        create_jobs_table(dynamodb, "jobs")
        create_table(dynamodb, "owners", "pk", "sk")
        create_table(dynamodb, "scaling", "pk")
        url = sqs.create_queue(QueueName="parking")["QueueUrl"]
        yield Service({"dynamodb": dynamodb, "sqs": sqs}, url)


NUMBERS = iter(range(1, 10_000))


def record(before: Job | None, after: Job, **image: Any) -> dict[str, Any]:
    images = {"NewImage": row_of(after) | image}
    if before is not None:
        images["OldImage"] = row_of(before)
    keys = {"pk": {"S": after.id}, "sk": {"S": "job"}}
    number = str(next(NUMBERS))
    return {
        "eventName": "MODIFY" if before else "INSERT",
        "dynamodb": {"Keys": keys, "SequenceNumber": number, **images},
    }


def row_of(job: Job) -> dict[str, Any]:
    return {**codec.item_of(job), "sk": {"S": "job"}}


def number_of(end: dict[str, Any]) -> str:
    return str(end["dynamodb"]["SequenceNumber"])


class Throttled:
    """A ledger that is unavailable, or that always fails for one job."""

    def __init__(self, ledger: Any, job: Job | None = None) -> None:
        self._ledger, self._job = ledger, job

    def count(self, ended: Any) -> Any:
        if self._job is None or self._job.id in {job.id for job in ended}:
            raise Unavailable("throttled") if self._job is None else RuntimeError("a bug")
        return self._ledger.count(ended)


def test_the_slot_is_freed_the_end_counted_and_the_job_settled(service: Service) -> None:
    end, job = service.ended(has_slot=True)
    service.aws.owners.take_slot(job.owner, slot_of(job), ONE_JOB, job.queued_at)
    assert service.settle(end) == DONE
    row = service.row(job)
    assert (row.settle_pending, row.due_at) == (False, None)
    assert service.aws.owners.oldest_slots(job.owner, 1) == []
    assert service.aws.ledger.usage(job.owner).gpu_seconds == 1.5


def test_an_end_is_counted_once_whatever_the_stream_delivers_twice(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [service.ended()[0] for _ in range(3)]
    job = service.new_job()
    other = record(job, claimed(job))
    for batch in (records[:2], records, [*records[1:], other], [other, *records[::-1]]):
        assert service.settle(*batch) == DONE
    assert service.counted() == 3
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(sum(line.get("JobsEnded", [])) for line in written) == 3


def test_a_removed_row_and_an_empty_batch_change_nothing(service: Service) -> None:
    end, _ = service.ended()
    del end["dynamodb"]["NewImage"]
    assert service.settle(end) == service.settle() == DONE
    assert service.counted() == 0


def test_an_unreadable_record_is_parked_and_delays_no_other(service: Service) -> None:
    (strange, unread), (end, job) = service.ended(), service.ended()
    strange["dynamodb"]["NewImage"] |= {"schema": {"N": "99"}}
    assert service.settle(strange, end) == DONE
    assert service.counted() == service.parked() == 1
    assert not service.row(job).settle_pending
    assert service.deliver_parked() == 1  # it stays in the queue
    strange["dynamodb"]["NewImage"] |= {"schema": {"N": "1"}}  # as a newer release reads it
    service.clients["sqs"].purge_queue(QueueUrl=service.queue_url)
    service.aws.parking.set_aside(json.dumps(strange))
    assert service.deliver_parked() == service.parked() == 0
    assert service.counted() == 2
    assert not service.row(unread).settle_pending


def test_a_step_that_fails_is_parked_and_the_other_steps_are_done(service: Service) -> None:
    end, job = service.ended(has_slot=True)
    service.aws.owners.take_slot(job.owner, slot_of(job), ONE_JOB, job.queued_at)
    service.altered(ledger=Throttled(service.aws.ledger))
    assert service.settle(end) == DONE
    assert service.parked() == 1
    assert service.row(job).settle_pending
    assert service.aws.owners.oldest_slots(job.owner, 1) == []
    assert service.deliver_parked() == 1  # the ledger is still unavailable
    service.altered()
    assert service.deliver_parked() == service.parked() == 0
    assert service.counted() == 1
    assert not service.row(job).settle_pending


def test_a_job_that_cannot_be_counted_delays_no_other(service: Service) -> None:
    ends = [service.ended() for _ in range(3)]
    service.altered(ledger=Throttled(service.aws.ledger, ends[1][1]))
    assert service.settle(*(end for end, _ in ends)) == DONE
    assert [service.row(job).settle_pending for _, job in ends] == [False, True, False]
    assert service.parked() == 1


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_record_is_delivered_again_only_if_it_could_not_be_parked(
    service: Service, is_readable: bool
) -> None:
    class Full:
        def park(self, steps: Any) -> None:
            raise Unavailable("sqs")

        def set_aside(self, record: str) -> None:
            raise Unavailable("sqs")

    end, _ = service.ended()
    if not is_readable:
        end["dynamodb"]["NewImage"] |= {"schema": {"N": "99"}}
    service.altered(ledger=Throttled(service.aws.ledger), parking=Full())
    assert service.settle(end) == failed(number_of(end))
    service.altered()
    end["dynamodb"]["NewImage"] |= {"schema": {"N": "1"}}
    assert service.settle(end) == DONE
    assert service.counted() == 1


def test_a_parked_step_of_a_removed_job_is_done(service: Service) -> None:
    """A job is removed only after it was settled, by the sweeper or by a purge."""
    end, job = service.ended()
    service.altered(ledger=Throttled(service.aws.ledger))
    service.settle(end)
    service.altered()
    service.aws.jobs.delete(service.wiring.settlement.complete(job))
    again = a_job(id=job.id, owner=job.owner, queued_at=job.queued_at + timedelta(days=9))
    service.aws.jobs.add(again)
    assert service.deliver_parked() == service.parked() == 0
    assert service.counted() == 1
    assert service.row(again) == again


# --- the scaler -----------------------------------------------------------------------------------


def arrivals(service: Service, count: int) -> list[dict[str, Any]]:
    return [record(None, service.new_job()) for _ in range(count)]


def test_new_jobs_wake_the_scaler_once_in_five_seconds(service: Service) -> None:
    assert service.settle(*arrivals(service, 3)) == DONE
    (call,) = service.calls
    assert (call["FunctionName"], call["InvocationType"]) == ("scaler", "Event")
    assert json.loads(call["Payload"]) == {"arrived": 3}
    service.altered()  # another process
    service.settle(*arrivals(service, 1))
    service.clock.advance(WAKE_INTERVAL)
    service.settle(*arrivals(service, 1))
    service.settle(*arrivals(service, 1))
    assert len(service.calls) == 2


def test_a_fleet_with_work_is_not_woken(service: Service) -> None:
    assert service.aws.scaling_memory.save(Recent(needs=(Need(service.clock(), 1),)))
    service.settle(*arrivals(service, 1))
    assert service.calls == []


def test_an_old_record_wakes_nothing(service: Service) -> None:
    records = arrivals(service, 2)
    service.clock.advance(MAX_AGE + timedelta(seconds=1))
    service.settle(*records)
    assert service.calls == []


def test_a_scaler_that_cannot_be_called_fails_no_record(service: Service) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError("no such function")

    service.invoke = refuse  # type: ignore[method-assign]
    end, _ = service.ended()
    assert service.settle(*arrivals(service, 1), end) == DONE
    assert service.counted() == 1
