"""Lines of a bill: counted calls, what cannot be counted here as named assumptions, and prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.cost.counts import Counts
from comfyline.service.access.slots import OWNER_SHARDS
from comfyline.service.jobs.store import LIVE_SHARDS, SETTLED_SHARDS
from infra.prices import prices

MILLION = 1_000_000
# Dollars. Of an idle month, $1.60 are for the metrics of alarms beyond the ten free ones.
GOAL, IDLE_GOAL = 25.0, 2.15
MEMORY_GB = 0.5
SWEEPER_GB = 1769 / 1024  # a whole CPU, for the minutes in which much is due
# Assumptions, each on the expensive side.
OWN_MS = 10  # of a call of a function: 3 ms, as benchmarked on a whole CPU, at 29 % of one
CALL_MS = 15  # of each AWS call in it: 5 to 10 ms on the network, the rest is the SDK's own work
# The same on a whole CPU, which the sweeper has: most of the rest is the network.
WHOLE_CPU_OWN_MS, WHOLE_CPU_CALL_MS = 3, 8
SDK_MS = 2  # the CPU's share of such a call's time; calls side by side share the rest
COLD_MS = 5  # one call in 100 is the first of its process, and takes half a second longer
PLATFORM_LOG_BYTES = 470  # of a call: START, END and a REPORT that is cold and traced
LINE_BYTES = 26  # that CloudWatch adds to the text of each log line
ACCESS_LOG_BYTES = 500  # of a request
# Of each scheduled round in which there is nothing to do.
SCALER_CALLS = 6
SWEEPER_LOG_BYTES = 200
DUE_QUERIES = LIVE_SHARDS + SETTLED_SHARDS  # of the sweeper, side by side
SWEEPER_QUERIES = DUE_QUERIES + OWNER_SHARDS + 1  # the last finds keys that ended lately
SWITCH_READS = 1  # whether sockets are switched off
LOCK_WRITES = 2  # the sweeper's lock is taken and left
# Calls of SettleJobs. Its row in infra/rows/ switches tracing off.
UNTRACED = ("arrive", "settle")
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


def dollars(lines: Sequence[Line]) -> float:
    """The sum of the lines."""
    return sum(line.dollars for line in lines)


def billed_ms(calls: float, aws_calls: float) -> float:
    """The billed time of function calls, which make their AWS calls one after another."""
    return (OWN_MS + COLD_MS) * calls + CALL_MS * aws_calls


def _sweeper_ms() -> float:
    """The billed time of a round of the sweeper in which there is nothing to do."""
    # The two rounds of due queries count as calls, and so does the query for keys.
    one_by_one = 3 + OWNER_SHARDS + SWITCH_READS + LOCK_WRITES
    return WHOLE_CPU_OWN_MS + COLD_MS + WHOLE_CPU_CALL_MS * one_by_one + SDK_MS * DUE_QUERIES


def function_lines(calls: float, gb_milliseconds: float, own_log_bytes: float) -> list[Line]:
    """Calls of functions with their time and logs. A default deployment has no traces."""
    lambda_, logs = prices()["lambda"], prices()["cloudwatch"]
    seconds = gb_milliseconds / 1000
    log = calls * PLATFORM_LOG_BYTES + own_log_bytes
    return [
        Line("Lambda", "calls", calls, lambda_["request"]),
        Line("Lambda", "GB-seconds", seconds, lambda_["gb_second_arm"]),
        Line("CloudWatch", "log GB of functions", log / 1e9, logs["log_gb"]),
    ]


def job_lines(counts: Counts) -> list[Line]:
    """One job without subscribers, which is posted and read once."""
    ddb, sqs, logs = (prices()[name] for name in ("dynamodb", "sqs", "cloudwatch"))
    queue = counts.each(*(name for name in counts.calls if name.startswith("sqs ")))
    calls = sum(work["calls"] for work in counts.functions.values()) / counts.jobs
    aws_calls = sum(work["aws_calls"] for work in counts.functions.values()) / counts.jobs
    own_log, metrics, worker_log = (
        log_bytes(lines) / counts.jobs
        for lines in (counts.printed, counts.metrics, counts.worker_log)
    )
    return [
        Line("API Gateway", "HTTP requests", 2, prices()["api_gateway"]["http_request"]),
        *function_lines(calls, MEMORY_GB * billed_ms(calls, aws_calls), own_log),
        Line("CloudWatch", "log GB of metrics", metrics / 1e9, logs["log_gb"]),
        Line("CloudWatch", "log GB of requests", 2 * ACCESS_LOG_BYTES / 1e9, logs["log_gb"]),
        Line("CloudWatch", "log GB of the worker", worker_log / 1e9, logs["log_gb"]),
        Line("DynamoDB", "write units", counts.each("dynamodb write units"), ddb["write_unit"]),
        Line("DynamoDB", "read units", counts.each("dynamodb read units"), ddb["read_unit"]),
        Line("SQS", "calls", queue, sqs["request"]),
        Line("SQS", "messages with a group", counts.each("sqs SendMessage"), sqs["fair_request"]),
    ]


def traceable_calls(counts: Counts) -> float:
    """The calls of functions that a deployment with tracing traces, for one job."""
    traced = (work["calls"] for name, work in counts.functions.items() if name not in UNTRACED)
    return sum(traced) / counts.jobs


def log_bytes(lines: Sequence[str]) -> int:
    """The bytes that CloudWatch bills for these log lines."""
    return sum(len(line.encode()) + LINE_BYTES for line in lines)


def file_lines(counts: Counts) -> list[Line]:
    """The data plane's part of one job: its file is put once and fetched once."""
    puts, s3 = counts.each("s3 PutObject", "s3 CreateMultipartUpload"), prices()["s3"]
    return [Line("S3", "puts", puts, s3["put"]), Line("S3", "gets", puts, s3["get"])]


def idle_month(alarm_metrics: int, dashboards: int, *, is_free_tier: bool) -> list[Line]:
    """A month without jobs, without the cost of stored bytes."""
    watch, ddb, sqs = prices()["cloudwatch"], prices()["dynamodb"], prices()["sqs"]
    free = (watch["free_alarm_metrics"], watch["free_dashboards"]) if is_free_tier else (0, 0)
    # The sweeper queries the shards of jobs and of slots, the scaler reads its row and 3 queues.
    reads = ROUNDS_A_MONTH * (SWEEPER_QUERIES * 0.5 + SWITCH_READS + 1)
    return [
        Line("Scheduler", "calls", 2 * ROUNDS_A_MONTH, prices()["scheduler"]["call"]),
        *function_lines(
            2 * ROUNDS_A_MONTH,
            ROUNDS_A_MONTH * (MEMORY_GB * billed_ms(1, SCALER_CALLS) + SWEEPER_GB * _sweeper_ms()),
            ROUNDS_A_MONTH * SWEEPER_LOG_BYTES,
        ),
        Line("DynamoDB", "read units", reads, ddb["read_unit"]),
        Line("DynamoDB", "write units", ROUNDS_A_MONTH * LOCK_WRITES, ddb["write_unit"]),
        Line("SQS", "calls", 3 * ROUNDS_A_MONTH, sqs["request"]),
        Line(
            "CloudWatch",
            "metrics of alarms beyond the free ones" if is_free_tier else "metrics of alarms",
            max(0, alarm_metrics - free[0]),
            watch["alarm_metric_month"],
        ),
        Line("CloudWatch", "dashboards", max(0, dashboards - free[1]), watch["dashboard_month"]),
    ]
