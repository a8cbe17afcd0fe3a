"""What every Backlog, Fleet and ScalingMemory does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from comfyline.adapters.aws.fleet.scaling import DynamoScalingMemory, EcsFleet, SqsBacklog
from comfyline.adapters.memory.fleet import InMemoryFleet, InMemoryScalingMemory
from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.service.fleet.scaling import Need
from comfyline.service.fleet.workers import Fleet, FleetSize, Recent, ScalingMemory
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import Backlog, Depths, JobQueue
from tests.contract.conftest import AwsClient, Get, adapters, in_table, keyed
from tests.support.aws import create_service
from tests.support.builders import NOW, a_job

NEEDS = (
    Need(datetime(2026, 3, 1, 12, tzinfo=UTC), 3),
    Need(datetime(2026, 3, 1, 13, tzinfo=UTC), 1),
)


@pytest.fixture
def backlog(job_queue: JobQueue, request: pytest.FixtureRequest) -> Backlog:
    if isinstance(job_queue, InMemoryJobQueue):
        return job_queue
    client = request.getfixturevalue("aws_client")
    urls = request.getfixturevalue("queue_urls")
    return SqsBacklog(client("sqs"), client("cloudwatch"), urls.values())


scaling_memory = adapters(
    lambda _: InMemoryScalingMemory(),
    in_table(DynamoScalingMemory, keyed("pk")),
)


def _ecs_fleet(get: Get) -> EcsFleet:
    client = get("aws_client")("ecs")
    create_service(client)
    return EcsFleet(client, "comfyline", "worker")


fleet = adapters(lambda _: InMemoryFleet(), _ecs_fleet)


class TestBacklog:
    def test_tickets_of_all_lanes_are_counted(self, job_queue: JobQueue, backlog: Backlog) -> None:
        assert backlog.depths() == Depths(waiting=0, in_flight=0)
        for lane in (*Priority, Priority.LOW):
            job = a_job()
            job_queue.send(job.id, job.owner, lane)
        job_queue.receive(Priority.LOW, wait_seconds=0, limit=1)
        assert backlog.depths() == Depths(waiting=3, in_flight=1)

    def test_the_oldest_wait_of_empty_lanes_is_zero(self, backlog: Backlog) -> None:
        assert backlog.oldest_wait(NOW) == timedelta(0)


def test_on_aws_the_oldest_wait_is_the_last_age_of_the_oldest_lane(aws_client: AwsClient) -> None:
    sqs, cloudwatch = aws_client("sqs"), aws_client("cloudwatch")
    urls = [sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("high", "low")]
    now = datetime.now(UTC)
    for queue, ages in {"high": (900, 20), "low": (500, 30)}.items():
        for minutes, age in zip((3, 2), ages, strict=True):
            put_age(cloudwatch, queue, now - timedelta(minutes=minutes), age)
    backlog = SqsBacklog(sqs, cloudwatch, urls)
    assert backlog.oldest_wait(now) == timedelta(seconds=30)


def put_age(cloudwatch: Any, queue: str, at: datetime, age: int) -> None:
    metric = {
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Dimensions": [{"Name": "QueueName", "Value": queue}],
        "Timestamp": at,
        "Value": age,
    }
    cloudwatch.put_metric_data(Namespace="AWS/SQS", MetricData=[metric])


class TestFleet:
    def test_the_desired_size_is_what_was_asked_for(self, fleet: Fleet) -> None:
        assert fleet.size() == FleetSize(desired=0, running=0)
        fleet.resize(3)
        assert fleet.size().desired == 3
        fleet.resize(0)
        assert fleet.size().desired == 0


def test_a_missing_ecs_service_is_an_error(aws_client: AwsClient) -> None:
    client = aws_client("ecs")
    client.create_cluster(clusterName="comfyline")
    with pytest.raises(LookupError, match="comfyline/worker"):
        EcsFleet(client, "comfyline", "worker").size()


class TestScalingMemory:
    def test_nothing_is_stored_at_first(self, scaling_memory: ScalingMemory) -> None:
        assert scaling_memory.load() == Recent((), 0)

    def test_load_returns_what_was_saved(self, scaling_memory: ScalingMemory) -> None:
        assert scaling_memory.save(NEEDS, 0)
        assert scaling_memory.load() == Recent(NEEDS, 1)
        assert scaling_memory.save((), 1)
        assert scaling_memory.load() == Recent((), 2)

    def test_only_the_first_of_two_rounds_saves(self, scaling_memory: ScalingMemory) -> None:
        assert scaling_memory.save(NEEDS, 0)
        assert not scaling_memory.save((), 0)
        assert scaling_memory.save(NEEDS[:1], 1)
        assert not scaling_memory.save((), 1)
        assert scaling_memory.load() == Recent(NEEDS[:1], 2)

    def test_one_caller_in_each_interval_may_wake_the_scaler(
        self, scaling_memory: ScalingMemory
    ) -> None:
        interval, second = timedelta(seconds=5), timedelta(seconds=1)
        seconds = [n for n in range(12) if scaling_memory.may_wake(NOW + n * second, interval)]
        assert seconds == [0, 5, 10]
        assert not scaling_memory.may_wake(NOW, interval)  # a process with a late clock
        assert scaling_memory.load() == Recent((), 0)
