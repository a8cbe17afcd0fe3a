"""CloudWatch alarms, each with its threshold, its description and its section in the runbook."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One alarm: it is raised when the metric is above the threshold for `periods` in a row."""

    name: str
    description: str
    metric: cw.IMetric
    threshold: float = 0
    periods: int = 1
    is_floor: bool = False  # raised below the threshold instead, and without data too


def section(name: str) -> str:
    """The anchor of an alarm's section in the runbook: `dead-letters` for `DeadLetters`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def add_alarms(
    scope: Construct, watches: Sequence[Watch], *, prefix: str, runbook: str, topic: sns.ITopic
) -> None:
    """Make the alarms. Each publishes to the topic when it is raised and when it ends."""
    compare, missing = cw.ComparisonOperator, cw.TreatMissingData
    for watch in watches:
        anchor = section(watch.name)
        alarm = cw.Alarm(
            scope,
            watch.name,
            alarm_name=f"{prefix}-{anchor}",
            alarm_description=f"{watch.description} What to do: {runbook}#{anchor}",
            metric=watch.metric,
            threshold=watch.threshold,
            comparison_operator=compare.LESS_THAN_THRESHOLD
            if watch.is_floor
            else compare.GREATER_THAN_THRESHOLD,
            evaluation_periods=watch.periods,
            treat_missing_data=missing.BREACHING if watch.is_floor else missing.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(topic))
        alarm.add_ok_action(actions.SnsAction(topic))


def stopped(name: str, description: str, function: lambda_.IFunction) -> Watch:
    """The alarm of a scheduled function: no round succeeded in two times five minutes."""
    rounds = cw.MathExpression(
        expression="called - failed",
        using_metrics={"called": function.metric_invocations(), "failed": function.metric_errors()},
        period=Duration.minutes(5),
        label="rounds that succeeded",
    )
    return Watch(
        name=name, description=description, metric=rounds, threshold=1, periods=2, is_floor=True
    )
