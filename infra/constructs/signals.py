"""The metrics of one deployment, by what they say."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw

if TYPE_CHECKING:
    from infra.stacks.api import ApiStack
    from infra.stacks.data import DataStack

MINUTE = Duration.minutes(1)
SCALER_NAMESPACE = "Comfyline"  # as functions/scale_workers.py writes it


class Signals:
    """Names nothing that is not published: most metrics here are AWS's own and free."""

    # How a job may end, and the metric that counts it.
    outcomes: Mapping[str, str] = MappingProxyType(
        {"succeeded": "JobsSucceeded", "failed": "JobsFailed", "expired": "JobsExpired"}
    )

    def __init__(self, env: str, data: DataStack, api: ApiStack) -> None:
        self._env, self._data, self._api = env, data, api
        self.namespace = f"{SCALER_NAMESPACE}/{env}"

    def scaler(self, name: str, statistic: str = "Maximum") -> cw.Metric:
        """What the scaler saw and asked for; nothing while the fleet is idle."""
        dimensions = {"environment": self._env, "service": "scale_workers"}
        return _metric(SCALER_NAMESPACE, name, dimensions, statistic)

    def outcome(self, status: str) -> cw.Metric:
        """Jobs that ended so."""
        return cw.Metric(
            namespace=self.namespace,
            metric_name=self.outcomes[status],
            statistic="Sum",
            period=MINUTE,
        )

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
