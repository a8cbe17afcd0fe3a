"""The alarms, their topic, the dashboard, and the runbook to which the alarms link."""

from __future__ import annotations

import json
import re

import pytest

from comfyline.service.fleet import scale
from comfyline.service.fleet.workers import CRASH_WINDOW
from comfyline.service.jobs.job import TERMINAL
from comfyline.service.metrics import Metric
from comfyline.service.storage_names import METRICS_SERVICE
from infra.assets import ROOT
from infra.constructs.signals import OUTCOMES
from infra.prices import gpu_hour, prices
from tests.infra.templates import Json, Templates, only, plain_name, resources

ALARM, FUNCTION = "AWS::CloudWatch::Alarm", "AWS::Lambda::Function"
RUNBOOK = ROOT / "docs" / "runbook.md"


def alarms(templates: Templates) -> dict[str, Json]:
    found = resources(templates.observability, ALARM).values()
    return {alarm["AlarmName"]: alarm for alarm in found}


def test_every_alarm_has_a_section_and_every_section_an_alarm(aws: Templates) -> None:
    # Other sections have a title in words.
    sections = re.findall(r"^## ([a-z-]+)$", RUNBOOK.read_text(), re.MULTILINE)
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
        ("jobs-fail", "JobsEnded"),
        ("dead-letters", "NumberOfMessagesReceived"),
        ("workers-unfilled", "WorkersUnfilled"),
        ("workers-crash", "WorkersCrashed"),
        ("updates-late", "IteratorAge"),
        ("updates-dropped", "DroppedEventCount"),
    ],
)
def test_the_metric_of_each_alarm(aws: Templates, alarm: str, watched: str) -> None:
    assert alarms(aws)[f"comfyline-test-{alarm}"]["MetricName"] == watched


def summed(templates: Templates, alarm: str) -> list[Json]:
    """The metrics that an alarm watches as a sum."""
    metrics = alarms(templates)[f"comfyline-test-{alarm}"]["Metrics"]
    (expression,) = (m["Expression"] for m in metrics if "Expression" in m)
    found = [m for m in metrics if "Expression" not in m]
    assert expression == " + ".join(f"FILL({m['Id']}, 0)" for m in found)
    return [m["MetricStat"]["Metric"] for m in found]


def test_throttled_writes_are_seen_in_every_busy_table_and_index(aws: Templates) -> None:
    places = set()
    for metric in summed(aws, "tables-throttled"):
        assert metric["MetricName"] == "WriteThrottleEvents"
        of = {d["Name"]: aws.render(d["Value"]) for d in metric["Dimensions"]}
        table = plain_name(of["TableName"])
        places.add((table, of.get("GlobalSecondaryIndexName", "")))
    assert places == {
        *(("Jobs", index) for index in ("", "by_owner", "by_due")),
        ("Owners", ""),
        *(("Connections", index) for index in ("", "by_key")),
    }


def test_throttles_of_other_deployments_raise_no_alarm(aws: Templates) -> None:
    metrics = summed(aws, "functions-throttled")
    assert {metric["MetricName"] for metric in metrics} == {"Throttles"}
    assert all(metric["Dimensions"] for metric in metrics)


def test_a_crash_loop_raises_an_alarm_when_the_scaler_holds_the_fleet(aws: Templates) -> None:
    alarm = alarms(aws)["comfyline-test-workers-crash"]
    assert alarm["Threshold"] == scale.CRASH_LOOP - 1
    assert alarm["Period"] == CRASH_WINDOW.total_seconds()


def test_every_section_has_the_same_three_parts() -> None:
    _, *sections = re.split(r"^## ", RUNBOOK.read_text(), flags=re.MULTILINE)
    for section in sections:
        parts = re.split(r"^\*\*([\w ]+)\*\*:?", section, flags=re.MULTILINE)
        name, titles, texts = parts[0].strip(), parts[1::2], parts[2::2]
        assert titles == ["Means", "Look at", "Do"], name
        assert all(len(text.split()) >= 4 for text in texts), name


def test_links_within_the_runbook_have_a_target() -> None:
    text = RUNBOOK.read_text()
    sections = set(re.findall(r"^## (.+)$", text, re.MULTILINE))
    assert set(re.findall(r"\]\(#([a-z-]+)\)", text)) <= sections


def test_alarms_publish_when_they_begin_and_when_they_end(aws: Templates) -> None:
    for alarm in alarms(aws).values():
        assert len(alarm["AlarmActions"]) == len(alarm["OKActions"]) == 1


def test_missing_data_is_bad_only_for_scheduled_functions(aws: Templates) -> None:
    bad = {name for name, a in alarms(aws).items() if a["TreatMissingData"] == "breaching"}
    assert bad == {"comfyline-test-sweeper-stopped", "comfyline-test-scaler-stopped"}
    assert {a["TreatMissingData"] for a in alarms(aws).values()} == {"breaching", "notBreaching"}


def test_the_topic_accepts_only_tls_and_only_alarms_of_the_account(aws: Templates) -> None:
    policy = only(resources(aws.observability, "AWS::SNS::TopicPolicy"))
    by_sid = {s["Sid"]: s for s in policy["PolicyDocument"]["Statement"]}
    assert by_sid["AllowPublishThroughSSLOnly"]["Effect"] == "Deny"
    publish = by_sid["AlarmsMayPublish"]
    assert publish["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert publish["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    }


def test_the_address_of_the_deployment_is_subscribed(aws: Templates, asg: Templates) -> None:
    assert not resources(aws.observability, "AWS::SNS::Subscription")
    subscription = only(resources(asg.observability, "AWS::SNS::Subscription"))
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "team@example.com")


def test_the_cost_of_the_alarms_is_bounded(aws: Templates) -> None:
    metrics = [
        metric
        for alarm in alarms(aws).values()
        for metric in alarm.get("Metrics", [{}])
        if "Expression" not in metric
    ]
    assert len(metrics) <= 26


def dashboard(templates: Templates) -> list[Json]:
    body = only(resources(templates.observability, "AWS::CloudWatch::Dashboard"))["DashboardBody"]
    widgets: list[Json] = json.loads(templates.render(body))["widgets"]
    return widgets


def test_the_dashboard_fits_on_one_screen(aws: Templates) -> None:
    widgets = dashboard(aws)
    titles = [widget["properties"]["title"] for widget in widgets]
    assert len(titles) == 6
    assert max(w["y"] + w["height"] for w in widgets) <= 12
    for part in ("Queue", "Workers", "Latency", "Errors", "Cost"):
        assert any(title.startswith(part) for title in titles), part


def test_the_cost_is_shown_at_the_list_price(aws: Templates) -> None:
    (cost,) = [w for w in dashboard(aws) if w["properties"]["title"].startswith("Cost")]
    spot, on_demand = (gpu_hour("g6.xlarge", share) for share in (1, 0))
    assert f"spot * {spot:.4f} + (workers - spot) * {on_demand:.4f}" in json.dumps(cost)


def test_an_hour_costs_more_than_its_instance() -> None:
    gpu = prices()["gpu"]["g6.xlarge"]
    address = prices()["network"]["public_address_hour"]
    fee = prices()["managed_instances"]["fee_share"] * gpu["on_demand"]
    assert gpu_hour("g6.xlarge", 1) == pytest.approx(gpu["spot"] + fee + address)
    # 200 GB and 375 MiB/s more than the free part, for one of the 730 hours of a month.
    volume = (200 * 0.08 + 375 * 0.04) / 730
    group = gpu_hour("g6.xlarge", 0, capacity="asg")
    assert group == pytest.approx(gpu["on_demand"] + address + volume)


Read = tuple[str, tuple[tuple[str, str], ...]]  # the name and the dimensions of a metric of ours


def read_by_alarms(templates: Templates) -> set[Read]:
    found = [a for a in alarms(templates).values() if a.get("Namespace") == "Comfyline/test"]
    return {
        (a["MetricName"], tuple(sorted((d["Name"], d["Value"]) for d in a["Dimensions"])))
        for a in found
    }


def read_by_the_dashboard(templates: Templates) -> set[Read]:
    found = set()
    for widget in dashboard(templates):
        for entry in widget["properties"].get("metrics", []):
            if entry[0] != "Comfyline/test":
                continue
            _, name, *rest = (part for part in entry if isinstance(part, str))
            found.add((name, tuple(sorted(zip(rest[::2], rest[1::2], strict=True)))))
    return found


def test_every_metric_that_is_read_is_recorded(aws: Templates) -> None:
    read = read_by_alarms(aws) | read_by_the_dashboard(aws)
    assert len(read_by_alarms(aws)) == 6
    assert {name for name, _ in read} >= {"JobsEnded", "OldestWait", "JobWait", "WorkersRunning"}
    for name, dimensions in read:
        metric, of = Metric(name), dict(dimensions)
        assert of.pop("service") == METRICS_SERVICE
        assert set(of) == ({metric.dimension} if metric.dimension else set())
    assert set(OUTCOMES) == {status.value for status in TERMINAL}


def test_every_metric_is_recorded_somewhere() -> None:
    folders = ("functions", "gpu_worker", "comfyline/service")
    code = "".join(path.read_text() for f in folders for path in (ROOT / f).rglob("*.py"))
    assert [m.name for m in Metric if f"Metric.{m.name}" not in code] == []


def test_processes_record_in_the_namespace_that_alarms_read(aws: Templates) -> None:
    functions = {
        plain_name(name).removesuffix("Function"): of
        for template in aws.all
        for name, of in resources(template, FUNCTION).items()
    }
    recording = {
        name: of["Environment"]["Variables"]["METRICS_NAMESPACE"]
        for name, of in functions.items()
        if "METRICS_NAMESPACE" in of["Environment"]["Variables"]
    }
    posts = {"SubmitJob", "Generate", "RetryJob"}
    pushing = {"SocketSubscribe", "PushChunk", "PushUpdates"}
    settling = {"SettleJobs", "CancelJob"}
    assert set(recording) == {
        *posts,
        *pushing,
        *settling,
        "SweepJobs",
        "RedriveTickets",
        "ScaleWorkers",
        "CountCrashes",
        "SubmitComfyJob",
    }
    task = only(resources(aws.worker, "AWS::ECS::TaskDefinition"))["ContainerDefinitions"][0]
    worker = {pair["Name"]: pair["Value"] for pair in task["Environment"]}["METRICS_NAMESPACE"]
    assert {*recording.values(), worker} == {"Comfyline/test"}


def test_metrics_can_be_switched_off_with_everything_that_reads_them(asg: Templates) -> None:
    variables = asg.functions()["SubmitJob"]["Environment"]["Variables"]
    assert variables["METRICS_NAMESPACE"] == ""
    assert "Comfyline/" not in json.dumps(asg.observability)
    assert [w["properties"]["title"] for w in dashboard(asg)] == ["Latency", "Errors per minute"]
