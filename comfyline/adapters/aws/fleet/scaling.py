"""The scaler's adapters: SQS's counts, the ECS services, and the scaler's rows in DynamoDB."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from comfyline.adapters.aws.attributes import read_time, readable_items, time_of, ttl_of
from comfyline.adapters.aws.errors import error_code, translated
from comfyline.service.fleet.capacity import Capacity, FleetSize, Sizes, SpotHistory
from comfyline.service.fleet.scaling import Need, Reason, ScalerView
from comfyline.service.fleet.workers import CRASH_WINDOW, Recent
from comfyline.service.queue.tickets import Depths

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_sqs import SQSClient

_KEY = {"pk": {"S": "scaling"}}
_WAKE_KEY = {"pk": {"S": "woken"}}


class SqsBacklog:
    """`Backlog` of some queues in SQS."""

    def __init__(self, sqs: SQSClient, urls: Iterable[str]) -> None:
        self._sqs = sqs
        self._urls = tuple(urls)

    @translated()
    def depths(self) -> Depths:
        """See Backlog."""
        lanes = [self._depths_of(url) for url in self._urls]
        return Depths(sum(lane.waiting for lane in lanes), sum(lane.in_flight for lane in lanes))

    def _depths_of(self, url: str) -> Depths:
        answer = self._sqs.get_queue_attributes(
            QueueUrl=url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )
        found = answer["Attributes"]
        return Depths(
            int(found["ApproximateNumberOfMessages"])
            + int(found.get("ApproximateNumberOfMessagesDelayed", 0)),
            int(found["ApproximateNumberOfMessagesNotVisible"]),
        )


class EcsFleet:
    """`Fleet` on two ECS services, which have the names of the capacities."""

    def __init__(self, client: ECSClient, cluster: str) -> None:
        self._client = client
        self._cluster = cluster

    @translated()
    def size(self) -> FleetSize | None:
        """See Fleet."""
        names = [capacity.value for capacity in Capacity]
        try:
            answer = self._client.describe_services(cluster=self._cluster, services=names)
        except self._client.exceptions.ClusterNotFoundException:
            return None
        found = {s["serviceName"]: s for s in answer["services"] if s["status"] == "ACTIVE"}
        if found.keys() != set(names):
            return None
        return FleetSize(
            desired=Sizes(**{name: found[name]["desiredCount"] for name in names}),
            running=Sizes(**{name: found[name]["runningCount"] for name in names}),
            # They differ while a deployment has updated only one of the services.
            revisions=frozenset(service["taskDefinition"] for service in found.values()),
        )

    @translated()
    def resize(self, capacity: Capacity, workers: int) -> None:
        """See Fleet."""
        self._client.update_service(
            cluster=self._cluster, service=capacity.value, desiredCount=workers
        )


class DynamoScalingMemory:
    """`ScalingMemory` in rows of DynamoDB.

    pk             holds
    scaling        what the last round has saved
    woken          when the scaler was last woken
    crashes#<n>    how many workers crashed in the n-th CRASH_WINDOW since 1970
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def load(self) -> Recent:
        """See ScalingMemory."""
        answer = self._client.get_item(TableName=self._table, Key=_KEY, ConsistentRead=True)
        item: Any = answer.get("Item")
        if item is None:
            return Recent()
        return _recent(item)

    @translated()
    def save(self, recent: Recent) -> bool:
        """See ScalingMemory."""
        condition: Any = {"ConditionExpression": "attribute_not_exists(pk)"}
        if recent.version:
            condition["ConditionExpression"] = "version = :version"
            condition["ExpressionAttributeValues"] = {":version": {"N": str(recent.version)}}
        try:
            self._client.put_item(TableName=self._table, Item=_item(recent), **condition)
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    @translated()
    def may_wake(self, now: datetime, interval: timedelta) -> bool:
        """See ScalingMemory: one conditional write."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_WAKE_KEY,
                UpdateExpression="SET woken_at = :now",
                ConditionExpression="attribute_not_exists(pk) OR woken_at <= :before",
                ExpressionAttributeValues={
                    ":now": time_of(now),
                    ":before": time_of(now - interval),
                },
            )
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    @translated()
    def count_crash(self, now: datetime) -> None:
        """See ScalingMemory: one write, which never conflicts with another."""
        self._client.update_item(
            TableName=self._table,
            Key=_crash_key(now),
            UpdateExpression="SET #ttl = :ttl ADD n :one",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={":ttl": ttl_of(now + 4 * CRASH_WINDOW), ":one": {"N": "1"}},
        )

    @translated()
    def crashes(self, now: datetime) -> int:
        """See ScalingMemory: the counts of this window and of the one before."""
        return sum(self._crashes_in(time) for time in (now, now - CRASH_WINDOW))

    def _crashes_in(self, time: datetime) -> int:
        answer = self._client.get_item(TableName=self._table, Key=_crash_key(time))
        return int(answer["Item"]["n"]["N"]) if "Item" in answer else 0


def _crash_key(time: datetime) -> Any:
    window = (time - datetime.fromtimestamp(0, UTC)) // CRASH_WINDOW
    return {"pk": {"S": f"crashes#{window}"}}


def _item(recent: Recent) -> Any:
    needs = [{"M": {"at": time_of(n.at), "workers": {"N": str(n.workers)}}} for n in recent.needs]
    spot = recent.spot
    optional = {
        "waiting_since": recent.waiting_since and time_of(recent.waiting_since),
        "revisions": recent.revisions and {"SS": sorted(recent.revisions)},
        "spot_since": spot.since and time_of(spot.since),
        "spot_refused_until": spot.refused_until and time_of(spot.refused_until),
        "view": recent.view and {"M": _view_item(recent.view)},
    }
    return {
        **_KEY,
        "version": {"N": str(recent.version + 1)},
        "needs": {"L": needs},
        "spot_owed": {"N": str(spot.owed)},
        "spot_running": {"N": str(spot.running)},
        **{name: value for name, value in optional.items() if value},
    }


def _recent(item: Any) -> Recent:
    def time(name: str) -> datetime | None:
        return read_time(item[name]) if name in item else None

    return Recent(
        needs=tuple(
            Need(read_time(n["M"]["at"]), int(n["M"]["workers"]["N"])) for n in item["needs"]["L"]
        ),
        version=int(item["version"]["N"]),
        waiting_since=time("waiting_since"),
        spot=SpotHistory(
            owed=int(item.get("spot_owed", {"N": "0"})["N"]),
            since=time("spot_since"),
            running=int(item.get("spot_running", {"N": "0"})["N"]),
            refused_until=time("spot_refused_until"),
        ),
        revisions=frozenset(item["revisions"]["SS"] if "revisions" in item else ()),
        # Another release may have written it otherwise, and no round depends on it.
        view=next(iter(readable_items(_view, [item["view"]["M"]] if "view" in item else [])), None),
    )


def _view_item(view: ScalerView) -> dict[str, Any]:
    return {
        "since": time_of(view.since),
        "waiting": {"N": str(view.waiting)},
        "in_flight": {"N": str(view.in_flight)},
        "ready": {"N": str(view.ready)},
        "asked": {"M": _sizes_item(view.asked)},
        "running": {"M": _sizes_item(view.running)},
        "reason": {"S": view.reason.value},
    }


def _sizes_item(sizes: Sizes) -> dict[str, Any]:
    return {capacity.value: {"N": str(sizes.of(capacity))} for capacity in Capacity}


def _view(item: Any) -> ScalerView:
    def sizes(name: str) -> Sizes:
        return Sizes(**{c.value: int(item[name]["M"][c.value]["N"]) for c in Capacity})

    return ScalerView(
        since=read_time(item["since"]),
        waiting=int(item["waiting"]["N"]),
        in_flight=int(item["in_flight"]["N"]),
        ready=int(item["ready"]["N"]),
        asked=sizes("asked"),
        running=sizes("running"),
        reason=Reason(item["reason"]["S"]),
    )
