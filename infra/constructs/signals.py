"""The CloudWatch metrics of one deployment, for alarms and dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw
from aws_cdk import aws_dynamodb as ddb
from aws_cdk import aws_lambda as lambda_

from comfyline.service.metrics import Metric
from comfyline.service.storage_names import BY_DUE, BY_KEY, BY_OWNER, METRICS_SERVICE

if TYPE_CHECKING:
    from infra.deployment import Deployment
    from infra.stacks.api import ApiStack
    from infra.stacks.data import DataStack

MINUTE = Duration.minutes(1)
# By callers, by changes of jobs, and by ends of jobs. A lack of concurrent calls hits them first.
CALLED_MOST = ("AuthorizeHttp", "PushUpdates", "SettleJobs")
OUTCOMES = ("succeeded", "failed", "canceled", "expired")


class Signals:
    """Only metrics that are published. Most of them are AWS's own, which are free."""

    def __init__(self, deployment: Deployment, data: DataStack, api: ApiStack) -> None:
        self._namespace, self._data, self._api = deployment.metrics_namespace, data, api

    def recorded(self, metric: Metric, statistic: str, dimension: str = "") -> cw.Metric:
        """A metric that our processes record. It has no data while nothing happens."""
        dimensions = {metric.dimension: dimension} if metric.dimension else {}
        return cw.Metric(
            namespace=self._namespace,
            metric_name=metric.value,
            dimensions_map={"service": METRICS_SERVICE, **dimensions},
            statistic=statistic,
            period=MINUTE,
        )

    def outcome(self, status: str) -> cw.Metric:
        """Jobs that ended with this status."""
        return self.recorded(Metric.JOBS_ENDED, "Sum", status)

    def api(self, name: str, statistic: str = "Sum") -> cw.Metric:
        """A metric that API Gateway publishes about the HTTP API."""
        return self._api.http_api.metric(name, statistic=statistic, period=MINUTE)

    def errors(self, function: str) -> cw.Metric:
        """Calls of a function that failed."""
        return self._api.functions[function].metric_errors(period=MINUTE)

    def throttles(self) -> cw.IMetric:
        """Calls of this deployment that Lambda refused because of the limit of concurrent calls.

        It covers only the functions that are called most, because each metric of an alarm costs.
        """
        calls = {f"f{n}": self._throttles(name) for n, name in enumerate(CALLED_MOST)}
        return _sum(calls, "calls")

    def _throttles(self, function: str) -> cw.IMetric:
        return self._api.functions[function].metric_throttles(period=MINUTE)

    def dropped_updates(self) -> cw.Metric:
        """Changes that Lambda has dropped, because PushUpdates failed or was too late."""
        (mapping,) = (
            child
            for child in self._api.functions["PushUpdates"].node.find_all()
            if isinstance(child, lambda_.CfnEventSourceMapping)
        )
        return cw.Metric(
            namespace="AWS/Lambda",
            metric_name="DroppedEventCount",
            dimensions_map={"EventSourceMappingUUID": mapping.attr_id},
            statistic="Sum",
            period=MINUTE,
        )

    def iterator_age(self, function: str) -> cw.Metric:
        """By how much a function is behind the jobs table's stream."""
        source = self._api.functions[function]
        return source.metric("IteratorAge", statistic="Maximum", period=MINUTE)

    def throttled_writes(self) -> cw.IMetric:
        """Writes to the busy tables that DynamoDB refused, because of the table or an index.

        An index that is throttled refuses writes to its table, and the table's metric omits these.
        """
        data = self._data
        busy = ((data.jobs, (BY_OWNER, BY_DUE)), (data.owners, ()), (data.connections, (BY_KEY,)))
        places = [(table, index) for table, indexes in busy for index in ("", *indexes)]
        return _sum({f"w{n}": _refused(*place) for n, place in enumerate(places)}, "writes")


def _refused(table: ddb.TableV2, index: str) -> cw.IMetric:
    of_index = {"GlobalSecondaryIndexName": index} if index else {}
    return cw.Metric(
        namespace="AWS/DynamoDB",
        metric_name="WriteThrottleEvents",
        dimensions_map={"TableName": table.table_name, **of_index},
        statistic="Sum",
        period=MINUTE,
    )


def _sum(metrics: dict[str, cw.IMetric], label: str) -> cw.MathExpression:
    # A metric without data counts as 0, or the sum would have no data either.
    expression = " + ".join(f"FILL({name}, 0)" for name in metrics)
    return cw.MathExpression(
        expression=expression, using_metrics=metrics, period=MINUTE, label=label
    )
