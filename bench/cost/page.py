"""docs/cost.md, written from counts and prices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cost import model, promises
from bench.cost.counts import Counts
from bench.cost.model import CAP_GOAL, GOAL, IDLE_GOAL, MILLION, Line, Watched, dollars
from infra.declarations import MEMORY_MB
from infra.prices import prices
from localcloud.synthesis import synthesise

DEPLOYMENT = "deployments/dev.toml"  # a deployment with the default of every choice
TEMPLATE = Path(__file__).with_name("page.md")


def page(counts: Counts, alone: Counts, capped: Counts, watched: Watched) -> str:
    """The page, from the counts of several jobs, of one job that came alone, and of one of a key
    with a cap.

    `watched` is what the default deployment records.
    """
    job, files = model.job_lines(counts, watched), model.file_lines(counts)
    idle = model.idle_month(watched, is_free_tier=True)
    polls, polls_alone = (each.each("sqs ReceiveMessage") for each in (counts, alone))
    cap = promises.cap_dollars(alone, capped) * MILLION
    return TEMPLATE.read_text().format(
        goals=_goals(dollars(job) * MILLION, cap, dollars(idle)),
        with_files=dollars([*job, *files]) * MILLION,
        job=_table(job, MILLION, "$ per 1M"),
        files=_table(files, MILLION, "$ per 1M"),
        steps=_steps(counts),
        promises=promises.table(promises.promises(counts, cap, watched)),
        idle=_table(idle, 1, "$ a month"),
        alarm_metrics=watched.alarm_metrics,
        full=dollars(model.idle_month(watched, is_free_tier=False)),
        edge=dollars(model.edge_lines(model.REQUESTS_OF_JOB, has_acl=False)) * MILLION,
        edge_with_acl=dollars(model.edge_lines(model.REQUESTS_OF_JOB, has_acl=True)) * MILLION,
        free_requests=prices()["cloudfront"]["free_requests_month"] / MILLION,
        web_acl=model.web_acl_month(),
        jobs=counts.jobs,
        calls=_calls(counts),
        functions=_functions(counts),
        every_trace=model.traceable_calls(counts) * prices()["xray"]["trace"] * MILLION,
        polls=polls,
        polls_alone=polls_alone,
        more_alone=(polls_alone - polls) * prices()["sqs"]["request"] * MILLION,
        own_ms=model.billed_ms(MEMORY_MB, 1, 0),
        call_ms=model.billed_ms(MEMORY_MB, 0, 1),
        memory=MEMORY_MB,
        log_bytes=model.PLATFORM_LOG_BYTES,
        line_bytes=model.LINE_BYTES,
        access_log_bytes=model.access_log_bytes(watched),
    )


def _goals(job: float, cap: float, idle: float) -> str:
    sums = (
        ("The control plane of 1M jobs", job, GOAL),
        ("a cap of active jobs adds", cap, CAP_GOAL),
        ("an idle month", idle, IDLE_GOAL),
    )
    parts = []
    for name, cost, goal in sums:
        verdict = "within" if cost <= goal else f"**${cost - goal:.2f} over**"
        parts.append(f"{name}: ${cost:.2f}, {verdict} the goal of ${goal:.2f}")
    return "; ".join(parts) + "."


def _table(lines: Sequence[Line], times: int, unit: str) -> str:
    rows = [
        f"| {line.service} | {line.what} | {line.count:,.4g} | {line.dollars * times:.2f} |"
        for line in lines
    ]
    head = [f"| service | what | how many | {unit} |", "| --- | --- | ---: | ---: |"]
    return "\n".join([*head, *rows, f"| **all** | | | **{dollars(lines) * times:.2f}** |"])


def _steps(counts: Counts) -> str:
    columns = ("table", "by_owner", "by_due")
    rows = [
        f"| {step} | "
        + " | ".join(f"{units.get(place, 0) / counts.jobs:.3g}" for place in columns)
        + " |"
        for step, units in counts.units.items()
    ]
    head = [f"| step | {' | '.join(columns)} |", "| --- | ---: | ---: | ---: |"]
    return "\n".join([*head, *rows])


def _calls(counts: Counts) -> str:
    return ", ".join(f"{n / counts.jobs:.3g} {name}" for name, n in sorted(counts.calls.items()))


def _functions(counts: Counts) -> str:
    rates = ((name, work["aws_calls"] / work["calls"]) for name, work in counts.functions.items())
    return ", ".join(f"{name} {rate:.3g}" for name, rate in rates)


# --- what watches a deployment --------------------------------------------------------------------


def watched(deployment: str = DEPLOYMENT) -> Watched:
    """What the templates of a deployment say that it records and watches."""
    folder = synthesise(deployment)
    alarms = _of_type(folder, "observability", "AWS::CloudWatch::Alarm")
    # An alarm without "Metrics" reads the one metric that its other properties name.
    read = [metric for alarm in alarms for metric in alarm.get("Metrics", [{"MetricStat": {}}])]
    stages = _of_type(folder, "api", "AWS::ApiGatewayV2::Stage")
    formats = [stage["AccessLogSettings"]["Format"] for stage in stages if _has_log(stage)]
    functions = _of_type(folder, "api", "AWS::Lambda::Function")
    return Watched(
        alarm_metrics=sum("MetricStat" in metric for metric in read),
        dashboards=len(_of_type(folder, "observability", "AWS::CloudWatch::Dashboard")),
        access_log=formats[0] if formats else None,
        has_call_log=any(f["LoggingConfig"].get("SystemLogLevel") != "WARN" for f in functions),
    )


def _has_log(stage: Any) -> bool:
    return "AccessLogSettings" in stage


def _of_type(folder: Path, part: str, kind: str) -> list[Any]:
    (template,) = folder.glob(f"*-{part}.template.json")
    resources: Any = json.loads(template.read_text())["Resources"].values()
    return [resource["Properties"] for resource in resources if resource["Type"] == kind]
