"""The metrics of one deployment, by what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw

from comfyline.service.metrics import Metric
from comfyline.service.storage_names import METRICS_SERVICE

if TYPE_CHECKING:
    from infra.deployment import Deployment
    from infra.stacks.api import ApiStack
    from infra.stacks.data import DataStack

MINUTE = Duration.minutes(1)
OUTCOMES = ("succeeded", "failed", "canceled", "expired")


class Signals:
    """Names nothing that is not published: most metrics here are AWS's own and free."""

    def __init__(self, deployment: Deployment, data: DataStack, api: ApiStack) -> None:
        self._namespace, self._data, self._api = deployment.metrics_namespace, data, api

    def recorded(self, metric: Metric, statistic: str, dimension: str | None = None) -> cw.Metric:
        """What our processes record; nothing where nothing happens.

        Raises:
            ValueError: the metric's own dimension is missing, or it has none, or no namespace.
        """
        if not self._namespace or (metric.dimension is None) != (dimension is None):
            raise ValueError(f"nobody records {metric} of {dimension}")
        of = {"service": METRICS_SERVICE}
        if metric.dimension is not None and dimension is not None:
            of[metric.dimension] = dimension
        return _metric(self._namespace, metric.value, of, statistic)

    def outcome(self, status: str) -> cw.Metric:
        """Jobs that ended so."""
        return self.recorded(Metric.JOBS_ENDED, "Sum", status)

    def api(self, name: str, statistic: str = "Sum") -> cw.Metric:
        """The HTTP API's own."""
        dimensions = {"ApiId": self._api.http.api.api_id}
        return _metric("AWS/ApiGateway", name, dimensions, statistic)

    def function(self, function: str, name: str, statistic: str) -> cw.Metric:
        """One function's own."""
        dimensions = {"FunctionName": self._api.functions[function].function_name}
        return _metric("AWS/Lambda", name, dimensions, statistic)

    def throttles(self) -> cw.Metric:
        """Calls refused because of the concurrency limit, which the whole account shares."""
        return _metric("AWS/Lambda", "Throttles", {}, "Sum")

    def iterator_age(self) -> cw.Metric:
        """How far the pushing of updates is behind."""
        return self.function("PushUpdates", "IteratorAge", "Maximum")

    def table(self, name: str) -> cw.Metric:
        """The jobs table's own."""
        return _metric("AWS/DynamoDB", name, {"TableName": self._data.jobs.table_name}, "Sum")


def _metric(namespace: str, name: str, dimensions: dict[str, str], statistic: str) -> cw.Metric:
    return cw.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dimensions or None,
        statistic=statistic,
        period=MINUTE,
    )
