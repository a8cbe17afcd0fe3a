"""What every Backlog, Fleet and ScalingMemory does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from comfyline.adapters.aws.fleet.scaling import DynamoScalingMemory, EcsFleet, SqsBacklog
from comfyline.adapters.memory.fleet import InMemoryFleet, InMemoryScalingMemory
from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.service.fleet.capacity import Capacity, Sizes, SpotHistory
from comfyline.service.fleet.scaling import Need, Reason, ScalerView
from comfyline.service.fleet.workers import CRASH_WINDOW, Fleet, Recent, ScalingMemory
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import Backlog, Depths, JobQueue
from tests.contract.conftest import AwsClient, Get, adapters, in_table, keyed
from tests.support.aws import create_services
from tests.support.builders import NOW, a_job

NEEDS = (
    Need(datetime(2026, 3, 1, 12, tzinfo=UTC), 3),
    Need(datetime(2026, 3, 1, 13, tzinfo=UTC), 1),
)

FULL = Recent(
    NEEDS,
    waiting_since=NOW,
    spot=SpotHistory(owed=3, since=NOW, running=7, refused_until=NOW + timedelta(hours=1)),
    revisions=frozenset({"worker:1", "worker:2"}),
    view=ScalerView(
        since=NOW,
        waiting=7,
        in_flight=2,
        ready=1,
        asked=Sizes(ondemand=1, spot=3),
        running=Sizes(ondemand=1),
        reason=Reason.BACKLOG,
    ),
)


@pytest.fixture
def backlog(job_queue: JobQueue, request: pytest.FixtureRequest) -> Backlog:
    if isinstance(job_queue, InMemoryJobQueue):
        return job_queue
    client = request.getfixturevalue("aws_client")
    urls = request.getfixturevalue("queue_urls")
    return SqsBacklog(client("sqs"), urls.values())


scaling_memory = adapters(
    lambda _: InMemoryScalingMemory(),
    in_table(DynamoScalingMemory, keyed("pk")),
)


def _ecs_fleet(get: Get) -> EcsFleet:
    client = get("aws_client")("ecs")
    create_services(client)
    return EcsFleet(client, "comfyline")


fleet = adapters(lambda _: InMemoryFleet(), _ecs_fleet)


class TestBacklog:
    def test_tickets_of_all_lanes_are_counted(self, job_queue: JobQueue, backlog: Backlog) -> None:
        assert backlog.depths() == Depths(waiting=0, in_flight=0)
        for lane in (*Priority, Priority.LOW):
            job = a_job()
            job_queue.send(job.id, job.owner, lane)
        job_queue.receive(Priority.LOW, wait_seconds=0, limit=1)
        assert backlog.depths() == Depths(waiting=3, in_flight=1)


class TestFleet:
    def test_each_capacity_has_the_size_that_was_asked_for(self, fleet: Fleet) -> None:
        assert desired(fleet) == Sizes(0, 0)
        fleet.resize(Capacity.SPOT, 3)
        fleet.resize(Capacity.ONDEMAND, 1)
        assert desired(fleet) == Sizes(ondemand=1, spot=3)
        fleet.resize(Capacity.SPOT, 0)
        assert desired(fleet) == Sizes(ondemand=1, spot=0)


def desired(fleet: Fleet) -> Sizes:
    size = fleet.size()
    assert size is not None
    return size.desired


class TestEcs:
    def test_before_the_cluster_there_is_no_fleet(self, aws_client: AwsClient) -> None:
        assert EcsFleet(aws_client("ecs"), "comfyline").size() is None

    def test_before_both_services_there_is_no_fleet(self, aws_client: AwsClient) -> None:
        client = aws_client("ecs")
        create_services(client)
        client.delete_service(cluster="comfyline", service="spot", force=True)
        assert EcsFleet(client, "comfyline").size() is None

    def test_while_one_service_is_updated_there_are_two_revisions(
        self, aws_client: AwsClient
    ) -> None:
        client = aws_client("ecs")
        create_services(client)
        fleet = EcsFleet(client, "comfyline")
        assert [name.rpartition(":")[2] for name in revisions(fleet)] == ["1"]
        container = {"name": "worker", "image": "worker:2", "memory": 128}
        client.register_task_definition(family="worker", containerDefinitions=[container])
        client.update_service(cluster="comfyline", service="spot", taskDefinition="worker:2")
        assert [name.rpartition(":")[2] for name in revisions(fleet)] == ["1", "2"]


def revisions(fleet: EcsFleet) -> list[str]:
    size = fleet.size()
    assert size is not None
    return sorted(size.revisions)


class TestScalingMemory:
    def test_nothing_is_stored_at_first(self, scaling_memory: ScalingMemory) -> None:
        assert scaling_memory.load() == Recent()

    @pytest.mark.parametrize("recent", [FULL, Recent(NEEDS), Recent()])
    def test_load_returns_what_was_saved(
        self, scaling_memory: ScalingMemory, recent: Recent
    ) -> None:
        assert scaling_memory.save(recent)
        assert scaling_memory.load() == replace(recent, version=1)
        assert scaling_memory.save(Recent(version=1))
        assert scaling_memory.load() == Recent(version=2)

    def test_only_the_first_of_two_rounds_saves(self, scaling_memory: ScalingMemory) -> None:
        assert scaling_memory.save(Recent(NEEDS))
        assert not scaling_memory.save(Recent())
        assert scaling_memory.save(Recent(NEEDS[:1], version=1))
        assert not scaling_memory.save(Recent(version=1))
        assert scaling_memory.load() == Recent(NEEDS[:1], version=2)

    def test_crashes_are_counted_for_some_time(self, scaling_memory: ScalingMemory) -> None:
        assert scaling_memory.crashes(NOW) == 0
        for _ in range(3):
            scaling_memory.count_crash(NOW)
        assert scaling_memory.crashes(NOW + CRASH_WINDOW - timedelta.resolution) == 3
        assert scaling_memory.crashes(NOW + 2 * CRASH_WINDOW) == 0
        assert scaling_memory.load() == Recent()

    def test_one_caller_in_each_interval_may_wake_the_scaler(
        self, scaling_memory: ScalingMemory
    ) -> None:
        interval, second = timedelta(seconds=5), timedelta(seconds=1)
        seconds = [n for n in range(12) if scaling_memory.may_wake(NOW + n * second, interval)]
        assert seconds == [0, 5, 10]
        assert not scaling_memory.may_wake(NOW, interval)  # a process with a late clock
        assert scaling_memory.load() == Recent()


def test_a_view_of_another_release_does_not_stop_the_scaler(aws_client: AwsClient) -> None:
    client = aws_client("dynamodb")
    keyed("pk")(client, "scaling")
    memory = DynamoScalingMemory(client, "scaling")
    memory.save(FULL)
    client.update_item(
        TableName="scaling",
        Key={"pk": {"S": "scaling"}},
        UpdateExpression="SET #view.reason = :new",
        ExpressionAttributeNames={"#view": "view"},
        ExpressionAttributeValues={":new": {"S": "moon"}},
    )
    assert memory.load() == replace(FULL, version=1, view=None)
