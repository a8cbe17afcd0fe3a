"""What every AlarmSource does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from comfyline.adapters.aws.alarms import CloudWatchAlarms
from comfyline.adapters.memory.alarms import InMemoryAlarms
from comfyline.service.admin.alarms import Alarm, AlarmSource, AlarmState
from tests.contract.conftest import AwsClient, Get, adapters
from tests.support.builders import NOW

_VALUES = {AlarmState.OK: "OK", AlarmState.RAISED: "ALARM", AlarmState.UNKNOWN: "INSUFFICIENT_DATA"}


@dataclass
class Platform:
    """Alarms, and how one comes into being."""

    source: AlarmSource
    add: Callable[[str, AlarmState], object]


def put(client: Any, name: str, state: AlarmState, description: str) -> None:
    client.put_metric_alarm(
        AlarmName=name,
        AlarmDescription=description,
        Namespace="n",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    client.set_alarm_state(AlarmName=name, StateValue=_VALUES[state], StateReason="a test")


def _in_memory(_get: Get) -> Platform:
    source = InMemoryAlarms()
    return Platform(
        source, lambda name, state: source.all.append(Alarm(name, "It rings.", state, NOW))
    )


def _on_aws(get: Get) -> Platform:
    client = get("aws_client")("cloudwatch")

    def add(name: str, state: AlarmState) -> None:
        put(client, f"comfyline-prod-{name}", state, f"It rings. What to do: runbook#{name}")

    return Platform(CloudWatchAlarms(client, "comfyline-prod"), add)


platform = adapters(_in_memory, _on_aws)


def test_each_alarm_has_its_name_its_meaning_and_its_state(platform: Platform) -> None:
    assert platform.source.alarms() == []
    states = dict(zip(("dead-letters", "jobs-fail", "api-fails"), AlarmState, strict=True))
    for name, state in states.items():
        platform.add(name, state)
    found = platform.source.alarms()
    assert {alarm.name: alarm.state for alarm in found} == states
    assert {alarm.description for alarm in found} == {"It rings."}


def test_on_aws_other_alarms_are_left_out(aws_client: AwsClient) -> None:
    client = aws_client("cloudwatch")
    for name, remedy in [
        ("comfyline-prod-eu-dead-letters", "What to do: runbook#dead-letters"),
        ("comfyline-prod-own", "An operator's own alarm."),
        ("another", "What to do: runbook#another"),
    ]:
        put(client, name, AlarmState.OK, f"It rings. {remedy}")
    assert CloudWatchAlarms(client, "comfyline-prod").alarms() == []


def test_on_aws_an_alarm_says_since_when(aws_client: AwsClient) -> None:
    client = aws_client("cloudwatch")
    put(client, "comfyline-prod-a", AlarmState.RAISED, "It rings. What to do: runbook#a")
    (alarm,) = CloudWatchAlarms(client, "comfyline-prod").alarms()
    assert timedelta(0) <= datetime.now(UTC) - alarm.since < timedelta(minutes=5)
