"""Alarms, the topic they tell, the dashboard, and the runbook that they lead to."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from comfyline.memory import InMemoryJobStore
from comfyline.usecases.cancel import cancel
from infra.assets import ROOT
from infra.prices import gpu_hour, prices
from tests.infra.templates import Json, Templates, only, resources
from tests.support.builders import FrozenClock, a_job

ALARM, FILTER = "AWS::CloudWatch::Alarm", "AWS::Logs::MetricFilter"
RUNBOOK = ROOT / "docs" / "runbook.md"


def alarms(templates: Templates) -> dict[str, Json]:
    found = resources(templates.observability, ALARM).values()
    return {alarm["AlarmName"]: alarm for alarm in found}


def test_every_alarm_has_a_section_and_every_section_an_alarm(aws: Templates) -> None:
    sections = re.findall(r"^## (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert len(sections) == len(set(sections))
    links = {
        re.search(r"docs/runbook\.md#([a-z-]+)$", alarm["AlarmDescription"]).group(1)  # type: ignore[union-attr]
        for alarm in alarms(aws).values()
    }
    assert links == set(sections)
    assert {name.removeprefix("comfyline-test-") for name in alarms(aws)} == links


@pytest.mark.parametrize(
    ("alarm", "watched"),
    [
        ("oldest-job-waits", "OldestWait"),
        ("no-worker-for-waiting-jobs", "TicketsUnserved"),
        ("jobs-fail", "JobsFailed"),
        ("dead-letters", "NumberOfMessagesReceived"),
        ("functions-throttled", "Throttles"),
        ("jobs-table-throttled", "WriteThrottleEvents"),
        ("updates-late", "IteratorAge"),
    ],
)
def test_what_alarms_watch(aws: Templates, alarm: str, watched: str) -> None:
    assert alarms(aws)[f"comfyline-test-{alarm}"]["MetricName"] == watched


def test_every_section_says_what_it_means_where_to_look_and_what_to_do() -> None:
    _, *sections = re.split(r"^## ", RUNBOOK.read_text(), flags=re.MULTILINE)
    for section in sections:
        parts = re.split(r"^\*\*([\w ]+)\*\*:?", section, flags=re.MULTILINE)
        name, titles, texts = parts[0].strip(), parts[1::2], parts[2::2]
        assert titles == ["Means", "Look at", "Do"], name
        assert all(len(text.split()) >= 4 for text in texts), name


def test_links_within_the_runbook_lead_somewhere() -> None:
    text = RUNBOOK.read_text()
    sections = set(re.findall(r"^## (.+)$", text, re.MULTILINE))
    assert set(re.findall(r"\]\(#([a-z-]+)\)", text)) <= sections


def test_alarms_tell_when_they_begin_and_when_they_end(aws: Templates) -> None:
    for alarm in alarms(aws).values():
        assert len(alarm["AlarmActions"]) == len(alarm["OKActions"]) == 1


def test_silence_is_bad_only_where_there_must_be_sound(aws: Templates) -> None:
    bad = {name for name, a in alarms(aws).items() if a["TreatMissingData"] == "breaching"}
    assert bad == {"comfyline-test-sweeper-stopped", "comfyline-test-scaler-stopped"}
    assert {a["TreatMissingData"] for a in alarms(aws).values()} == {"breaching", "notBreaching"}


def test_only_tls_and_the_accounts_alarms_reach_the_topic(aws: Templates) -> None:
    policy = only(resources(aws.observability, "AWS::SNS::TopicPolicy"))
    by_sid = {s["Sid"]: s for s in policy["PolicyDocument"]["Statement"]}
    assert by_sid["AllowPublishThroughSSLOnly"]["Effect"] == "Deny"
    speak = by_sid["AlarmsMaySpeak"]
    assert speak["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert speak["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_who_is_told(aws: Templates, asg: Templates) -> None:
    assert not resources(aws.observability, "AWS::SNS::Subscription")
    subscription = only(resources(asg.observability, "AWS::SNS::Subscription"))
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "team@example.com")


def test_what_alarms_cost_is_bounded(aws: Templates) -> None:
    metrics = [
        metric
        for alarm in alarms(aws).values()
        for metric in alarm.get("Metrics", [{}])
        if "Expression" not in metric
    ]
    assert len(metrics) <= 13


def test_outcomes_are_counted_from_the_lines_that_the_lifecycle_writes(
    aws: Templates, caplog: pytest.LogCaptureFixture
) -> None:
    patterns = {f["FilterPattern"] for f in resources(aws.observability, FILTER).values()}
    assert patterns == {
        f'{{ ($.action = "job_changed") && ($.status = "{status}") }}'
        for status in ("succeeded", "failed", "expired")
    }
    # Powertools writes what a record carries as fields at the top of the line.
    store, job = InMemoryJobStore(), a_job()
    store.add(job)
    with caplog.at_level(logging.INFO, "comfyline"):
        cancel(job.id, job.owner, store=store, clock=FrozenClock(job.queued_at))
    (record,) = [r.__dict__ for r in caplog.records if r.__dict__.get("action") == "job_changed"]
    assert record["status"] == "canceled"


def dashboard(templates: Templates) -> list[Json]:
    body = only(resources(templates.observability, "AWS::CloudWatch::Dashboard"))["DashboardBody"]
    widgets: list[Json] = json.loads(templates.render(body))["widgets"]
    return widgets


def test_one_screen(aws: Templates) -> None:
    widgets = dashboard(aws)
    titles = [widget["properties"]["title"] for widget in widgets]
    assert len(titles) == 6
    assert max(w["y"] + w["height"] for w in widgets) <= 12
    for part in ("Queue", "Workers", "Latency", "Errors", "Cost"):
        assert any(title.startswith(part) for title in titles), part


def test_cost_is_told_at_the_list_price(aws: Templates) -> None:
    (cost,) = [w for w in dashboard(aws) if w["properties"]["title"].startswith("Cost")]
    hour = gpu_hour("g6.xlarge", 0.8)
    assert f"workers * {hour:.4f}" in json.dumps(cost)
    gpu = prices()["gpu"]["g6.xlarge"]
    assert gpu["spot"] < hour < gpu["on_demand"] * (1 + prices()["managed_instances"]["fee_share"])


def test_scaler_metrics_are_named_as_the_function_names_them(aws: Templates) -> None:
    source = Path(ROOT, "functions", "scale_workers.py").read_text()
    assert 'NAMESPACE = "Comfyline"' in source
    ours = [a for a in alarms(aws).values() if a.get("Namespace") == "Comfyline"]
    assert len(ours) == 2
    for alarm in ours:
        assert f'"{alarm["MetricName"]}"' in source
        dimensions = {d["Name"]: d["Value"] for d in alarm["Dimensions"]}
        assert dimensions == {"environment": "test", "service": "scale_workers"}
