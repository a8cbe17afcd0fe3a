"""docs/cost.md, written from counts and prices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cost import model
from bench.cost.counts import Counts
from bench.cost.model import GOAL, IDLE_GOAL, MILLION, Line, dollars
from infra.prices import prices
from localcloud.synthesis import synthesise

DEPLOYMENT = "deployments/dev.toml"  # a deployment with the default of every choice
TEMPLATE = Path(__file__).with_name("page.md")


def page(counts: Counts, alone: Counts, metrics: int, dashboards: int) -> str:
    """The page, from the counts of several jobs and those of one job that came alone.

    `metrics` and `dashboards` are those of the default deployment (`watched`).
    """
    job, files = model.job_lines(counts), model.file_lines(counts)
    idle = model.idle_month(metrics, dashboards, is_free_tier=True)
    costs = {line.what: line.dollars * MILLION for line in job}
    polls, polls_alone = (each.each("sqs ReceiveMessage") for each in (counts, alone))
    return TEMPLATE.read_text().format(
        goals=_goals(job, files, idle),
        job=_table(job, MILLION, "$ per 1M"),
        files=_table(files, MILLION, "$ per 1M"),
        steps=_steps(counts),
        idle=_table(idle, 1, "$ a month"),
        alarm_metrics=metrics,
        full=dollars(model.idle_month(metrics, dashboards, is_free_tier=False)),
        jobs=counts.jobs,
        calls=_calls(counts),
        functions=_functions(counts),
        every_trace=model.traceable_calls(counts) * prices()["xray"]["trace"] * MILLION,
        watching=costs["log GB of metrics"],
        polls=polls,
        polls_alone=polls_alone,
        more_alone=(polls_alone - polls) * prices()["sqs"]["request"] * MILLION,
        own_ms=model.OWN_MS + model.COLD_MS,
        call_ms=model.CALL_MS,
        log_bytes=model.PLATFORM_LOG_BYTES,
        line_bytes=model.LINE_BYTES,
        access_log_bytes=model.ACCESS_LOG_BYTES,
    )


def _goals(job: Sequence[Line], files: Sequence[Line], idle: Sequence[Line]) -> str:
    with_files = "with the puts and gets of their files, which are the data plane's"
    sums = (
        ("The control plane of 1M jobs", dollars(job) * MILLION, GOAL),
        (with_files, dollars([*job, *files]) * MILLION, GOAL),
        ("an idle month", dollars(idle), IDLE_GOAL),
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


def watched() -> tuple[int, int]:
    """The metrics that the alarms of the default deployment read, and its dashboards."""
    (template,) = synthesise(DEPLOYMENT).glob("*-observability.template.json")
    resources: Any = json.loads(template.read_text())["Resources"].values()
    alarms = [r["Properties"] for r in resources if r["Type"] == "AWS::CloudWatch::Alarm"]
    # An alarm without "Metrics" reads the one metric that its other properties name.
    read = [metric for alarm in alarms for metric in alarm.get("Metrics", [{"MetricStat": {}}])]
    dashboards = sum(r["Type"] == "AWS::CloudWatch::Dashboard" for r in resources)
    return sum("MetricStat" in metric for metric in read), dashboards
