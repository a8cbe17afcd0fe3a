"""The scaler's adapters: SQS's counts, the ECS service, and the scaler's row in DynamoDB."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from comfyline.adapters.aws.attributes import read_time, time_of
from comfyline.adapters.aws.errors import error_code, translated
from comfyline.service.fleet.scaling import Need
from comfyline.service.fleet.workers import FleetSize, Recent
from comfyline.service.queue.tickets import Depths

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_sqs import SQSClient

# SQS publishes the age for each minute, one or two minutes later.
AGE_WINDOW = timedelta(minutes=5)
_KEY = {"pk": {"S": "scaling"}}
_WAKE_KEY = {"pk": {"S": "woken"}}


class SqsBacklog:
    """`Backlog` of the lanes in SQS."""

    def __init__(self, sqs: SQSClient, cloudwatch: CloudWatchClient, urls: Iterable[str]) -> None:
        self._sqs, self._cloudwatch = sqs, cloudwatch
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
            ],
        )
        found = answer["Attributes"]
        return Depths(
            int(found["ApproximateNumberOfMessages"]),
            int(found["ApproximateNumberOfMessagesNotVisible"]),
        )

    @translated()
    def oldest_wait(self, now: datetime) -> timedelta:
        """See Backlog. CloudWatch bills each metric read, so call this only if tickets wait."""
        answer = self._cloudwatch.get_metric_data(
            MetricDataQueries=[_age_query(n, url) for n, url in enumerate(self._urls)],
            StartTime=now - AGE_WINDOW,
            EndTime=now,
            ScanBy="TimestampDescending",
        )
        latest = [result["Values"][0] for result in answer["MetricDataResults"] if result["Values"]]
        return timedelta(seconds=max(latest, default=0.0))


def _age_query(number: int, url: str) -> Any:
    metric = {
        "Namespace": "AWS/SQS",
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Dimensions": [{"Name": "QueueName", "Value": url.rpartition("/")[2]}],
    }
    return {
        "Id": f"lane{number}",
        "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"},
    }


class EcsFleet:
    """`Fleet` on an ECS service."""

    def __init__(self, client: ECSClient, cluster: str, service: str) -> None:
        self._client = client
        self._cluster, self._service = cluster, service

    @translated()
    def size(self) -> FleetSize:
        """See Fleet.

        Raises:
            LookupError: there is no such service.
        """
        answer = self._client.describe_services(cluster=self._cluster, services=[self._service])
        for service in answer["services"]:
            return FleetSize(desired=service["desiredCount"], running=service["runningCount"])
        failures = answer.get("failures")
        raise LookupError(f"no ECS service {self._cluster}/{self._service}: {failures}")

    @translated()
    def resize(self, workers: int) -> None:
        """See Fleet."""
        self._client.update_service(
            cluster=self._cluster, service=self._service, desiredCount=workers
        )


class DynamoScalingMemory:
    """`ScalingMemory` in two rows of DynamoDB: recent needs, and when the scaler was last woken."""

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
        needs = (Need(read_time(n["M"]["at"]), int(n["M"]["workers"]["N"])) for n in _list_of(item))
        return Recent(tuple(needs), int(item["version"]["N"]))

    @translated()
    def save(self, needs: Sequence[Need], version: int) -> bool:
        """See ScalingMemory."""
        rows = [{"M": {"at": time_of(n.at), "workers": {"N": str(n.workers)}}} for n in needs]
        condition: Any = {"ConditionExpression": "attribute_not_exists(pk)"}
        if version:
            condition["ConditionExpression"] = "version = :version"
            condition["ExpressionAttributeValues"] = {":version": {"N": str(version)}}
        item: Any = {**_KEY, "version": {"N": str(version + 1)}, "needs": {"L": rows}}
        try:
            self._client.put_item(TableName=self._table, Item=item, **condition)
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


def _list_of(item: Any) -> list[Any]:
    needs: list[Any] = item["needs"]["L"]
    return needs
