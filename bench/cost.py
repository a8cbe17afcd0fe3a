"""What the control plane costs: counted calls times the price list.

Jobs go through the functions and the worker in this process, on moto and the ComfyUI simulator;
every call is counted as AWS charges for it. What cannot be counted here is assumed, by name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.counted_jobs import Calls, Counted, run_jobs
from infra.prices import prices

MILLION = 1_000_000
GOAL, IDLE_GOAL = 25.0, 1.0  # dollars
MEMORY_GB = 0.5
# Assumed, each on the dear side.
OWN_MS = 10  # of a call of a function: 3 ms, as benchmarked on a whole CPU, at 29 % of one
CALL_MS = 15  # of each AWS call in it: 5 to 10 ms on the way, the rest is the SDK's own work
COLD_MS = 5  # one call in 100 is the first of its process, and takes half a second more
LOG_BYTES = 600  # of a call: START, END and REPORT, and a line of ours
METRICS_BYTES = 1278  # of a job: six lines, as comfyline.aws.emf writes them
ACCESS_LOG_BYTES = 500  # of a request
# The functions of a job and their AWS calls; the authorizer is not asked about the second request.
AWS_CALLS = {"authorize": 1, "submit": 3, "scale": 6, "count the end": 1, "read": 1}
TICKS_A_MONTH = 30 * 24 * 60


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is paid for: how many of it, and what one costs."""

    service: str
    what: str
    count: float
    price: float

    @property
    def dollars(self) -> float:
        """What that comes to."""
        return self.count * self.price


def billed_ms(aws_calls: float) -> float:
    """How long a call of a function takes that makes so many of AWS, one after another."""
    return OWN_MS + COLD_MS + CALL_MS * aws_calls


def functions(calls: float, milliseconds: float, traced: float) -> list[Line]:
    """What so many calls of functions cost, so long in all and so many traced, with their logs."""
    of, logs, traces = prices()["lambda"], prices()["cloudwatch"], prices()["xray"]
    seconds = MEMORY_GB * milliseconds / 1000
    return [
        Line("Lambda", "calls", calls, of["request"]),
        Line("Lambda", "GB-seconds", seconds, of["gb_second_arm"]),
        Line("CloudWatch", "log GB of functions", calls * LOG_BYTES / 1e9, logs["log_gb"]),
        Line("X-Ray", "traces", traced, traces["trace"]),
    ]


def unwatched_job(counted: Counted) -> list[Line]:
    """A job that is posted and read once, of what was counted for several."""
    each = Each(counted.calls, counted.jobs)
    ddb, sqs, s3, logs = (prices()[name] for name in ("dynamodb", "sqs", "s3", "cloudwatch"))
    queue = each(*(key for key in counted.calls if key[0] == "sqs"))
    worker_log = counted.worker_log_bytes / counted.jobs / 1e9
    calls = len(AWS_CALLS) - 1 + counted.told / counted.jobs
    return [
        Line("API Gateway", "HTTP requests", 2, prices()["api_gateway"]["http_request"]),
        *functions(
            calls,
            sum(map(billed_ms, AWS_CALLS.values())),
            calls * prices()["xray"]["sampled_share"],
        ),
        Line("CloudWatch", "log GB of metrics", METRICS_BYTES / 1e9, logs["log_gb"]),
        Line("CloudWatch", "log GB of requests", 2 * ACCESS_LOG_BYTES / 1e9, logs["log_gb"]),
        Line("CloudWatch", "log GB of the worker", worker_log, logs["log_gb"]),
        Line("DynamoDB", "write units", each(("dynamodb", "write units")), ddb["write_unit"]),
        Line("DynamoDB", "read units", each(("dynamodb", "read units")), ddb["read_unit"]),
        Line("SQS", "calls", queue, sqs["request"]),
        Line("SQS", "messages with a group", each(("sqs", "SendMessage")), sqs["fair_request"]),
        *files(each, s3),
    ]


def files(each: Each, s3: Mapping[str, Any]) -> list[Line]:
    """The data plane's part: what a job made is put once and fetched once."""
    puts = each(("s3", "PutObject"), ("s3", "CreateMultipartUpload"))
    return [
        Line("S3", "puts of files", puts, s3["put"]),
        Line("S3", "gets of files", puts, s3["get"]),
    ]


def removal(counted: Counted) -> list[Line]:
    """What the sweeper does once a job's retention is over; its calls are the idle month's."""
    each, ddb = Each(counted.removal, counted.jobs), prices()["dynamodb"]
    lists = each(("s3", "ListObjectsV2"))
    return [
        Line("DynamoDB", "write units", each(("dynamodb", "write units")), ddb["write_unit"]),
        Line("S3", "lists", lists, prices()["s3"]["put"]),
    ]


@dataclass(frozen=True, slots=True)
class Each:
    """How often one job makes certain calls."""

    calls: Calls
    jobs: int

    def __call__(self, *names: tuple[str, str]) -> float:
        """All of these together."""
        return sum(self.calls.get(name, 0) for name in names) / self.jobs


def idle_month(alarm_metrics: int, dashboards: int, metrics_free: bool) -> list[Line]:
    """A month in which nothing happens, besides stored bytes."""
    watch, ddb, sqs = prices()["cloudwatch"], prices()["dynamodb"], prices()["sqs"]
    free = (watch["free_alarm_metrics"], watch["free_dashboards"]) if metrics_free else (0, 0)
    free_traces = prices()["xray"]["free_traces_month"] if metrics_free else 0
    # The sweeper queries 16 shards and the slots' shards, the scaler reads its row and 3 queues.
    reads = TICKS_A_MONTH * (_sweeper_queries() * 0.5 + 1)
    return [
        Line("Scheduler", "calls", 2 * TICKS_A_MONTH, prices()["scheduler"]["call"]),
        *functions(
            2 * TICKS_A_MONTH,
            TICKS_A_MONTH * (billed_ms(AWS_CALLS["scale"]) + billed_ms(_sweeper_queries())),
            max(0, 2 * TICKS_A_MONTH - free_traces),  # each is the first of its second
        ),
        Line("DynamoDB", "read units", reads, ddb["read_unit"]),
        Line("SQS", "calls", 3 * TICKS_A_MONTH, sqs["request"]),
        Line(
            "CloudWatch",
            "metrics of alarms beyond the free ones" if metrics_free else "metrics of alarms",
            max(0, alarm_metrics - free[0]),
            watch["alarm_metric_month"],
        ),
        Line("CloudWatch", "dashboards", max(0, dashboards - free[1]), watch["dashboard_month"]),
    ]


def _sweeper_queries() -> int:
    from comfyline.aws.codec import DUE_SHARDS
    from comfyline.ports import OWNER_SHARDS

    return DUE_SHARDS + OWNER_SHARDS


# --- the page -------------------------------------------------------------------------------------


def table(lines: Sequence[Line], times: int, what: str) -> list[str]:
    """The lines as a table with its sum."""
    rows = [
        f"| {line.service} | {line.what} | {line.count:,.4g} | {line.dollars * times:.2f} |"
        for line in lines
    ]
    total = sum(line.dollars for line in lines) * times
    head = [f"| service | what | how many | {what} |", "| --- | --- | ---: | ---: |"]
    return [*head, *rows, f"| **all** | | | **{total:.2f}** |"]


def steps(counted: Counted) -> list[str]:
    """The write units of each step, by where they are spent."""
    columns = ("table", "by_owner", "by_due")
    rows = [
        f"| {step} | " + " | ".join(f"{units[c] / counted.jobs:.3g}" for c in columns) + " |"
        for step, units in counted.units.items()
    ]
    return [f"| step | {' | '.join(columns)} |", "| --- | ---: | ---: | ---: |", *rows]


def dollars(lines: Sequence[Line]) -> float:
    """What all of them come to."""
    return sum(line.dollars for line in lines)


def _goals(job: Sequence[Line], idle: Sequence[Line]) -> str:
    told = []
    for what, sum_, goal in (
        ("1M jobs", dollars(job) * MILLION, GOAL),
        ("the same without the puts and gets of their files",
         dollars([line for line in job if line.service != "S3"]) * MILLION, GOAL),
        ("an idle month", dollars(idle), IDLE_GOAL),
    ):  # fmt: skip
        verdict = "within" if sum_ <= goal else f"**${sum_ - goal:.2f} over**"
        told.append(f"{what}: ${sum_:.2f}, {verdict} the goal of ${goal:.2f}")
    return "; ".join(told) + "."


def _observability() -> Any:
    """The template of what watches a deployment, with everything as it is when nothing is said."""
    from infra.app import add_stacks, new_app
    from infra.assets import CodeAsset
    from infra.deployment import Deployment

    given = {"worker_image": "registry.example/worker:1"}
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "code")
        code.mkdir()
        (code / "handler.py").touch()  # no template depends on it
        app = new_app(str(Path(folder, "out")))
        add_stacks(app, Deployment.from_context(given.get), CodeAsset(code, "0" * 64))
        app.synth()
        (template,) = Path(folder, "out").glob("*-observability.template.json")
        return json.loads(template.read_text())


def watched(alarms: Any) -> tuple[int, int]:
    """How many metrics the alarms of a template read, and how many dashboards it has."""
    kinds = [(r["Type"], r.get("Properties", {})) for r in alarms["Resources"].values()]
    read = [p.get("Metrics", [{"MetricStat": {}}]) for t, p in kinds if t == _ALARM]
    metrics = sum("MetricStat" in metric for metrics in read for metric in metrics)
    return metrics, sum(kind == "AWS::CloudWatch::Dashboard" for kind, _ in kinds)


_ALARM = "AWS::CloudWatch::Alarm"
PAGE = Path(__file__).with_name("cost.md")


def page(counted: Counted, metrics: int, dashboards: int) -> str:
    """The page, of what was counted."""
    job, idle = unwatched_job(counted), idle_month(metrics, dashboards, True)
    (traces,) = (line for line in job if line.what == "traces")
    calls = sorted(counted.calls.items())
    return PAGE.read_text().format(
        job="\n".join(table(job, MILLION, "$ per 1M")),
        steps="\n".join(steps(counted)),
        removal="\n".join(table(removal(counted), MILLION, "$ per 1M")),
        idle="\n".join(table(idle, 1, "$ a month")),
        alarm_metrics=metrics,
        goals=_goals(job, idle),
        full=dollars(idle_month(metrics, dashboards, False)),
        calls=", ".join(f"{n / counted.jobs:.3g} {of} {name}" for (of, name), n in calls),
        every_trace=traces.dollars * MILLION / prices()["xray"]["sampled_share"],
        jobs=counted.jobs,
        own_ms=OWN_MS + COLD_MS,
        call_ms=CALL_MS,
        functions=", ".join(f"{name} {n}" for name, n in AWS_CALLS.items()),
        log_bytes=LOG_BYTES,
        access_log_bytes=ACCESS_LOG_BYTES,
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/cost.md"))
    options = parser.parse_args()
    observed = watched(_observability())
    text = page(asyncio.run(run_jobs(options.jobs)), *observed)
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
