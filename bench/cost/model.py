"""Lines of a bill: counted calls, what cannot be counted here as named assumptions, and prices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.cost.counts import Counts
from comfyline.service.access.slots import OWNER_SHARDS
from comfyline.service.jobs.store import LIVE_SHARDS, SETTLED_SHARDS
from infra.declarations import Function
from infra.functions import FUNCTIONS
from infra.prices import prices

MILLION = 1_000_000
# Dollars. Of an idle month, $1.60 are for the metrics of alarms beyond the ten free ones.
GOAL, CAP_GOAL, IDLE_GOAL = 20.0, 6.0, 2.15
# The functions of a job, by the names under which their calls are counted.
ROWS: Mapping[str, Function] = {
    "authorize": FUNCTIONS["AuthorizeHttp"],
    "submit": FUNCTIONS["SubmitJob"],
    "arrive": FUNCTIONS["SettleJobs"],
    "settle": FUNCTIONS["SettleJobs"],
    "read": FUNCTIONS["GetJob"],
}
SCALER, SWEEPER = FUNCTIONS["ScaleWorkers"], FUNCTIONS["SweepJobs"]
# Assumptions, each on the expensive side. Milliseconds of a whole CPU take longer where the memory
# of a function buys less than one.
WHOLE_CPU_MB = 1769
OWN_CPU_MS = 3  # of a call, as benchmarked on a whole CPU
COLD_CPU_MS = 1.5  # one call in 100 is the first of its process, and needs 150 ms more
CALL_CPU_MS = 3  # of each AWS call: the SDK's own work
NETWORK_MS = 5  # of each AWS call
PLATFORM_LOG_BYTES = 470  # of a call: START, END and a REPORT that is cold and traced
LINE_BYTES = 26  # that CloudWatch adds to the text of each log line
# The longest usual values of what the access log shows.
ACCESS_LOG_VALUES: Mapping[str, str] = {
    "$context.requestId": "JKJaXmPLvHcESHA=",
    "$context.identity.sourceIp": "203.0.113.254",
    "$context.routeKey": "GET /api/v1/jobs/{job_id}",
    "$context.path": "/api/v1/jobs/job_5qrgzz6rqe684shxw502wk103e",
    "$context.authorizer.owner": "an-owner-with-20-signs",
    "$context.status": "202",
    "$context.responseLength": "1024",
    "$context.responseLatency": "100",
    "$context.integrationErrorMessage": "-",
    "$context.authorizer.error": "-",
}
# Of each scheduled round in which there is nothing to do.
SCALER_CALLS = 6
SWEEPER_LOG_BYTES = 200
DUE_QUERIES = LIVE_SHARDS + SETTLED_SHARDS  # of the sweeper, side by side
SWEEPER_QUERIES = DUE_QUERIES + OWNER_SHARDS + 1  # the last finds keys that ended lately
SWITCH_READS = 1  # whether sockets are switched off
LOCK_WRITES = 2  # the sweeper's lock is taken and left
WEB_ACL_RULES = 2  # infra/stacks/firewall.py
REQUESTS_OF_JOB = 2  # a post and a read
ROUNDS_A_MONTH = 30 * 24 * 60  # one a minute


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that AWS bills: its count, and the price of one."""

    service: str
    what: str
    count: float
    price: float

    @property
    def dollars(self) -> float:
        """The price of all of them."""
        return self.count * self.price


@dataclass(frozen=True, slots=True)
class Watched:
    """What a deployment records and watches, as its templates say."""

    alarm_metrics: int  # that the alarms read
    dashboards: int
    access_log: str | None  # the format of a line, if there is a log
    has_call_log: bool  # Lambda logs start, end and duration of each call


def dollars(lines: Sequence[Line]) -> float:
    """The sum of the lines."""
    return sum(line.dollars for line in lines)


def billed_ms(memory_mb: int, calls: float, aws_calls: float) -> float:
    """The time of calls of a function, which makes its AWS calls one after another."""
    cpu_ms = (OWN_CPU_MS + COLD_CPU_MS) * calls + CALL_CPU_MS * aws_calls
    return cpu_ms / min(1, memory_mb / WHOLE_CPU_MB) + NETWORK_MS * aws_calls


def gb_seconds(row: Function, calls: float, aws_calls: float) -> float:
    """What calls of a function are billed for."""
    return billed_ms(row.memory, calls, aws_calls) / 1000 * row.memory / 1024


def _sweeper_gb_seconds() -> float:
    """A round of the sweeper in which there is nothing to do, on a whole CPU."""
    # The two rounds of due queries count as calls, and so does the query for keys. Calls side by
    # side share all but the CPU's part of their time.
    one_by_one = 3 + OWNER_SHARDS + SWITCH_READS + LOCK_WRITES
    side_by_side = CALL_CPU_MS * DUE_QUERIES / 1000 * SWEEPER.memory / 1024
    return gb_seconds(SWEEPER, 1, one_by_one) + side_by_side


def _function_lines(
    calls: float, gb_seconds: float, own_log_bytes: float, watched: Watched
) -> list[Line]:
    """Calls of functions with their time and logs. A default deployment has no traces."""
    lambda_, logs = prices()["lambda"], prices()["cloudwatch"]
    log = own_log_bytes + (calls * PLATFORM_LOG_BYTES if watched.has_call_log else 0)
    return [
        Line("Lambda", "calls", calls, lambda_["request"]),
        Line("Lambda", "GB-seconds", gb_seconds, lambda_["gb_second_arm"]),
        Line("CloudWatch", "log GB of functions", log / 1e9, logs["log_gb"]),
    ]


def job_lines(counts: Counts, watched: Watched) -> list[Line]:
    """One job without subscribers, which is posted and read once."""
    ddb, sqs, logs = (prices()[name] for name in ("dynamodb", "sqs", "cloudwatch"))
    queue = counts.each(*(name for name in counts.calls if name.startswith("sqs ")))
    calls = sum(work["calls"] for work in counts.functions.values()) / counts.jobs
    time = sum(gb_seconds(ROWS[name], **work) for name, work in counts.functions.items())
    own_log, metrics, worker_log = (
        log_bytes(lines) / counts.jobs
        for lines in (counts.printed, counts.metrics, counts.worker_log)
    )
    requests = 2 * access_log_bytes(watched)
    return [
        Line(
            "API Gateway", "HTTP requests", REQUESTS_OF_JOB, prices()["api_gateway"]["http_request"]
        ),
        *_function_lines(calls, time / counts.jobs, own_log, watched),
        Line("CloudWatch", "log GB of metrics", metrics / 1e9, logs["log_gb"]),
        Line("CloudWatch", "log GB of requests", requests / 1e9, logs["log_gb"]),
        Line("CloudWatch", "log GB of the worker", worker_log / 1e9, logs["log_gb"]),
        Line("DynamoDB", "write units", counts.each("dynamodb write units"), ddb["write_unit"]),
        Line("DynamoDB", "read units", counts.each("dynamodb read units"), ddb["read_unit"]),
        Line("SQS", "calls", queue, sqs["request"]),
        Line("SQS", "messages with a group", counts.each("sqs SendMessage"), sqs["fair_request"]),
    ]


def traceable_calls(counts: Counts) -> float:
    """The calls of functions that a deployment with tracing traces, for one job."""
    traced = (work["calls"] for name, work in counts.functions.items() if ROWS[name].is_traced)
    return sum(traced) / counts.jobs


def log_bytes(lines: Sequence[str]) -> int:
    """The bytes that CloudWatch bills for these log lines."""
    return sum(len(line.encode()) + LINE_BYTES for line in lines)


def access_log_bytes(watched: Watched) -> int:
    """The bytes that CloudWatch bills for the access log of a request.

    Raises:
        KeyError: the log shows something for which ACCESS_LOG_VALUES has no value.
    """
    if watched.access_log is None:
        return 0
    fields: dict[str, Any] = json.loads(watched.access_log)
    values = {name: ACCESS_LOG_VALUES[variable] for name, variable in fields.items()}
    return log_bytes([json.dumps(values, separators=(",", ":"))])


def file_lines(counts: Counts) -> list[Line]:
    """The data plane's part of one job: its file is put once and fetched once."""
    puts, s3 = counts.each("s3 PutObject", "s3 CreateMultipartUpload"), prices()["s3"]
    return [Line("S3", "puts", puts, s3["put"]), Line("S3", "gets", puts, s3["get"])]


def idle_month(watched: Watched, *, is_free_tier: bool) -> list[Line]:
    """A month without jobs, without the cost of stored bytes."""
    watch, ddb, sqs = prices()["cloudwatch"], prices()["dynamodb"], prices()["sqs"]
    free = (watch["free_alarm_metrics"], watch["free_dashboards"]) if is_free_tier else (0, 0)
    # The sweeper queries the shards of jobs and of slots, the scaler reads its row and 3 queues.
    reads = ROUNDS_A_MONTH * (SWEEPER_QUERIES * 0.5 + SWITCH_READS + 1)
    time = ROUNDS_A_MONTH * (gb_seconds(SCALER, 1, SCALER_CALLS) + _sweeper_gb_seconds())
    return [
        Line("Scheduler", "calls", 2 * ROUNDS_A_MONTH, prices()["scheduler"]["call"]),
        *_function_lines(2 * ROUNDS_A_MONTH, time, ROUNDS_A_MONTH * SWEEPER_LOG_BYTES, watched),
        Line("DynamoDB", "read units", reads, ddb["read_unit"]),
        Line("DynamoDB", "write units", ROUNDS_A_MONTH * LOCK_WRITES, ddb["write_unit"]),
        Line("SQS", "calls", 3 * ROUNDS_A_MONTH, sqs["request"]),
        Line(
            "CloudWatch",
            "metrics of alarms beyond the free ones" if is_free_tier else "metrics of alarms",
            max(0, watched.alarm_metrics - free[0]),
            watch["alarm_metric_month"],
        ),
        Line(
            "CloudWatch",
            "dashboards",
            max(0, watched.dashboards - free[1]),
            watch["dashboard_month"],
        ),
    ]


def edge_lines(requests: float, *, has_acl: bool) -> list[Line]:
    """What `edge.domain` adds for so many requests; with `edge.web_acl` if `has_acl`."""
    lines = [Line("CloudFront", "requests", requests, prices()["cloudfront"]["request"])]
    return [*lines, Line("WAF", "requests", requests, prices()["waf"]["request"])][: 1 + has_acl]


def web_acl_month() -> float:
    """Dollars a month for the web ACL of `edge.web_acl` with its two rules, used or not."""
    waf = prices()["waf"]
    return float(waf["acl_month"] + WEB_ACL_RULES * waf["rule_month"])
