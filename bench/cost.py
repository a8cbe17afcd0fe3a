"""What the control plane costs: counted calls times the price list.

Jobs go through the functions and the worker in this process, on moto and the ComfyUI simulator;
every call is counted as AWS charges for it. What cannot be counted here is assumed, by name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.calls import calls_in
from bench.counted_jobs import Calls, Counted, run_jobs
from infra.prices import prices

MILLION = 1_000_000
GOAL, IDLE_GOAL = 25.0, 1.0  # dollars
MEMORY_GB = 0.5
# Assumed, each on the dear side.
OWN_MS = 10  # of a call of a function: 3 ms, as benchmarked on a whole CPU, at 29 % of one
CALL_MS = 15  # of each AWS call in it: 5 to 10 ms on the way, the rest is the SDK's own work
COLD_MS = 5  # one call in 100 is the first of its process, and takes half a second more
PLATFORM_LOG_BYTES = 470  # of a call: START, END and a REPORT that is cold and traced
LINE_BYTES = 26  # which CloudWatch takes each line for beyond its text
ACCESS_LOG_BYTES = 500  # of a request
# Of the schedule's rounds in which nothing happens.
SCALER_CALLS = 6
SWEEPER_LOG_BYTES = 200
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


def billed_ms(calls: float, aws_calls: float) -> float:
    """How long calls of functions take that make so many of AWS in all, one after another."""
    return (OWN_MS + COLD_MS) * calls + CALL_MS * aws_calls


def functions(calls: float, milliseconds: float, traced: float, own_log: float) -> list[Line]:
    """What so many calls of functions cost, so long in all and so many traced, with their logs."""
    of, logs, traces = prices()["lambda"], prices()["cloudwatch"], prices()["xray"]
    seconds = MEMORY_GB * milliseconds / 1000
    log = calls * PLATFORM_LOG_BYTES + own_log
    return [
        Line("Lambda", "calls", calls, of["request"]),
        Line("Lambda", "GB-seconds", seconds, of["gb_second_arm"]),
        Line("CloudWatch", "log GB of functions", log / 1e9, logs["log_gb"]),
        Line("X-Ray", "traces", traced, traces["trace"]),
    ]


def unwatched_job(counted: Counted) -> list[Line]:
    """A job that is posted and read once, of what was counted for several."""
    each = Each(counted.calls, counted.jobs)
    ddb, sqs, logs = (prices()[name] for name in ("dynamodb", "sqs", "cloudwatch"))
    queue = each(*(key for key in counted.calls if key[0] == "sqs"))
    calls = sum(work.calls for work in counted.functions.values()) / counted.jobs
    aws_calls = sum(work.aws_calls for work in counted.functions.values()) / counted.jobs
    traced = calls * prices()["xray"]["sampled_share"]
    own_log, metrics, worker_log = (
        log_bytes(lines) / counted.jobs
        for lines in (counted.printed, counted.metrics, counted.worker_log)
    )
    return [
        Line("API Gateway", "HTTP requests", 2, prices()["api_gateway"]["http_request"]),
        *functions(calls, billed_ms(calls, aws_calls), traced, own_log),
        Line("CloudWatch", "log GB of metrics", metrics / 1e9, logs["log_gb"]),
        Line("CloudWatch", "log GB of requests", 2 * ACCESS_LOG_BYTES / 1e9, logs["log_gb"]),
        Line("CloudWatch", "log GB of the worker", worker_log / 1e9, logs["log_gb"]),
        Line("DynamoDB", "write units", each(("dynamodb", "write units")), ddb["write_unit"]),
        Line("DynamoDB", "read units", each(("dynamodb", "read units")), ddb["read_unit"]),
        Line("SQS", "calls", queue, sqs["request"]),
        Line("SQS", "messages with a group", each(("sqs", "SendMessage")), sqs["fair_request"]),
    ]


def log_bytes(lines: Sequence[str]) -> int:
    """What CloudWatch takes lines of a log for."""
    return sum(len(line.encode()) + LINE_BYTES for line in lines)


def files(counted: Counted) -> list[Line]:
    """The data plane's part: what a job made is put once and fetched once."""
    each, s3 = Each(counted.calls, counted.jobs), prices()["s3"]
    puts = each(("s3", "PutObject"), ("s3", "CreateMultipartUpload"))
    return [Line("S3", "puts", puts, s3["put"]), Line("S3", "gets", puts, s3["get"])]


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
            TICKS_A_MONTH * billed_ms(2, SCALER_CALLS + _sweeper_queries()),
            max(0, 2 * TICKS_A_MONTH - free_traces),  # each is the first of its second
            TICKS_A_MONTH * SWEEPER_LOG_BYTES,
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
    from comfyline.adapters.aws.jobs.codec import DUE_SHARDS
    from comfyline.service.access.slots import OWNER_SHARDS

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


def _goals(job: Sequence[Line], of_files: Sequence[Line], idle: Sequence[Line]) -> str:
    told = []
    for what, sum_, goal in (
        ("The control plane of 1M jobs", dollars(job) * MILLION, GOAL),
        ("with the puts and gets of their files, which are the data plane's",
         dollars([*job, *of_files]) * MILLION, GOAL),
        ("an idle month", dollars(idle), IDLE_GOAL),
    ):  # fmt: skip
        verdict = "within" if sum_ <= goal else f"**${sum_ - goal:.2f} over**"
        told.append(f"{what}: ${sum_:.2f}, {verdict} the goal of ${goal:.2f}")
    return "; ".join(told) + "."


def _looks(counted: Counted) -> float:
    return Each(counted.calls, counted.jobs)(("sqs", "ReceiveMessage"))


def _observability() -> Any:
    """The template of what watches a deployment, with everything as it is when nothing is said."""
    from infra.app import add_stacks, new_app
    from infra.assets import CodeAsset
    from infra.deployment_file import read_deployment

    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "code")
        code.mkdir()
        (code / "handler.py").touch()  # no template depends on it
        app = new_app(str(Path(folder, "out")))
        add_stacks(app, read_deployment(Path("deployments/dev.toml")), CodeAsset(code, "0" * 64))
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


def page(counted: Counted, alone: Counted, metrics: int, dashboards: int) -> str:
    """The page, of what was counted for several jobs, and for one that came alone."""
    job, of_files = unwatched_job(counted), files(counted)
    idle = idle_month(metrics, dashboards, True)
    costs = {line.what: line.dollars * MILLION for line in job}
    looks, looks_alone = _looks(counted), _looks(alone)
    work = counted.functions.items()
    return PAGE.read_text().format(
        job="\n".join(table(job, MILLION, "$ per 1M")),
        files="\n".join(table(of_files, MILLION, "$ per 1M")),
        steps="\n".join(steps(counted)),
        removal="\n".join(table(removal(counted), MILLION, "$ per 1M")),
        idle="\n".join(table(idle, 1, "$ a month")),
        alarm_metrics=metrics,
        goals=_goals(job, of_files, idle),
        full=dollars(idle_month(metrics, dashboards, False)),
        calls=_calls(counted),
        every_trace=costs["traces"] / prices()["xray"]["sampled_share"],
        watching=costs["traces"] + costs["log GB of metrics"],
        metric_reads=3 * TICKS_A_MONTH * prices()["cloudwatch"]["metric_read"],
        jobs=counted.jobs,
        looks=looks,
        looks_alone=looks_alone,
        more_alone=(looks_alone - looks) * prices()["sqs"]["request"] * MILLION,
        own_ms=OWN_MS + COLD_MS,
        call_ms=CALL_MS,
        functions=", ".join(f"{name} {w.aws_calls / w.calls:.3g}" for name, w in work),
        log_bytes=PLATFORM_LOG_BYTES,
        line_bytes=LINE_BYTES,
        access_log_bytes=ACCESS_LOG_BYTES,
    )


def _calls(counted: Counted) -> str:
    each = ((of, name, n / counted.jobs) for (of, name), n in sorted(counted.calls.items()))
    return ", ".join(f"{n:.3g} {of} {name}" for of, name, n in each)


def figures(counted: Counted, idle: Sequence[Line]) -> dict[str, list[float]]:
    """What a benchmark keeps of it."""
    each = Each(counted.calls, counted.jobs)
    return {
        "control_plane": [sum(line.dollars for line in unwatched_job(counted)) * MILLION],
        "idle_month": [sum(line.dollars for line in idle)],
        "aws_calls": [calls_in(counted.calls) / counted.jobs],
        "write_units": [each(("dynamodb", "write units"))],
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    # Three rounds of a worker's turns between the lanes; the last one's looks ahead weigh little.
    parser.add_argument("--jobs", type=int, default=21)
    parser.add_argument("--out", type=Path, default=Path("docs/cost.md"))
    parser.add_argument("--figures", type=Path, help="where they are written as JSON too")
    options = parser.parse_args()
    observed = watched(_observability())
    alone, several = (asyncio.run(run_jobs(jobs)) for jobs in (1, options.jobs))
    text = page(several, alone, *observed)
    options.out.write_text(text)
    if options.figures:
        told = figures(several, idle_month(*observed, metrics_free=True))
        options.figures.write_text(json.dumps(told))
    print(text)


if __name__ == "__main__":
    main()
