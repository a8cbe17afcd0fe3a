"""The CloudWatch metrics of one deployment, for alarms and dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw
from aws_cdk import aws_lambda as lambda_

from comfyline.service.metrics import Metric
from comfyline.service.storage_names import METRICS_SERVICE

if TYPE_CHECKING:
    from infra.deployment import Deployment
    from infra.stacks.api import ApiStack
    from infra.stacks.data import DataStack

MINUTE = Duration.minutes(1)
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

    def throttles(self) -> cw.Metric:
        """Calls that Lambda refused for the limit of concurrent calls, which the account shares."""
        return lambda_.Function.metric_all_throttles(period=MINUTE)

    def iterator_age(self, function: str) -> cw.Metric:
        """By how much a function is behind the jobs table's stream."""
        source = self._api.functions[function]
        return source.metric("IteratorAge", statistic="Maximum", period=MINUTE)

    def throttled_writes(self) -> cw.Metric:
        """Writes to the jobs table that DynamoDB refused."""
        return self._data.jobs.metric("WriteThrottleEvents", statistic="Sum", period=MINUTE)
