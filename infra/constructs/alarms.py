"""CloudWatch alarms, each with its threshold, its description and its section in the runbook."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

ABOVE = cw.ComparisonOperator.GREATER_THAN_THRESHOLD
BELOW = cw.ComparisonOperator.LESS_THAN_THRESHOLD
QUIET_IS_FINE = cw.TreatMissingData.NOT_BREACHING
QUIET_IS_BAD = cw.TreatMissingData.BREACHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One alarm: it is raised when the metric breaches the threshold for `periods` in a row."""

    name: str
    description: str
    metric: cw.IMetric
    threshold: float
    periods: int = 1
    comparison: cw.ComparisonOperator = ABOVE
    missing: cw.TreatMissingData = QUIET_IS_FINE


def section(name: str) -> str:
    """The anchor of an alarm's section in the runbook: `dead-letters` for `DeadLetters`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def add_alarms(
    scope: Construct, watches: Sequence[Watch], *, prefix: str, runbook: str, topic: sns.ITopic
) -> list[cw.Alarm]:
    """Make the alarms. Each publishes to the topic when it is raised and when it ends."""
    alarms = [_alarm(scope, watch, prefix, runbook) for watch in watches]
    for alarm in alarms:
        alarm.add_alarm_action(actions.SnsAction(topic))
        alarm.add_ok_action(actions.SnsAction(topic))
    return alarms


def _alarm(scope: Construct, watch: Watch, prefix: str, runbook: str) -> cw.Alarm:
    return cw.Alarm(
        scope,
        watch.name,
        alarm_name=f"{prefix}-{section(watch.name)}",
        alarm_description=f"{watch.description} What to do: {runbook}#{section(watch.name)}",
        metric=watch.metric,
        threshold=watch.threshold,
        comparison_operator=watch.comparison,
        evaluation_periods=watch.periods,
        treat_missing_data=watch.missing,
    )


def rounds(function: str) -> cw.MathExpression:
    """The rounds of a scheduled function that succeeded, in five minutes."""

    def count(name: str) -> cw.Metric:
        return cw.Metric(
            namespace="AWS/Lambda",
            metric_name=name,
            dimensions_map={"FunctionName": function},
            statistic="Sum",
            period=Duration.minutes(5),
        )

    return cw.MathExpression(
        expression="called - failed",
        using_metrics={"called": count("Invocations"), "failed": count("Errors")},
        period=Duration.minutes(5),
        label="rounds that succeeded",
    )
