"""What the control plane costs: counted calls times the price list.

Jobs go through the functions and the worker in this process, on moto and the ComfyUI simulator;
every call is counted as AWS charges for it. What cannot be counted here is assumed, by name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from bench.calls import Image, Ledger
from comfyline.domain.ids import random_worker_id
from comfyline.settings import WorkerSettings
from comfyline.usecases.claim import Terms
from functions import _wiring, push_updates
from gpu_worker import __main__ as worker
from infra.prices import prices
from localcloud.comfyui_sim.options import Options
from localcloud.comfyui_sim.server import Simulator
from tests.support import gateway

MILLION = 1_000_000
GOAL, IDLE_GOAL = 25.0, 1.0  # dollars
MEMORY_GB = 0.5
# Assumed, each on the dear side.
BILLED_MS = 60  # a call of a function: a few calls of 5 to 10 ms each, at a third of a CPU
LOG_BYTES = 600  # of a call: START, END and REPORT, and a line of ours
METRICS_BYTES = 1278  # of a job: six lines, as comfyline.aws.emf writes them
ACCESS_LOG_BYTES = 500  # of a request
PICTURE = {"prompt": "a red fox", "steps": 20, "width": 64, "height": 64}
STEP_MS = 500.0  # 20 steps are 10 s
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


def functions(calls: float) -> list[Line]:
    """What so many calls of functions cost, with their logs and traces."""
    of, logs, traces = prices()["lambda"], prices()["cloudwatch"], prices()["xray"]
    seconds = calls * MEMORY_GB * BILLED_MS / 1000
    return [
        Line("Lambda", "calls", calls, of["request"]),
        Line("Lambda", f"GB-seconds, {BILLED_MS} ms a call", seconds, of["gb_second_arm"]),
        Line("CloudWatch", "log GB of functions", calls * LOG_BYTES / 1e9, logs["log_gb"]),
        Line("X-Ray", "traces", calls * traces["sampled_share"], traces["trace"]),
    ]


def unwatched_job(counted: Mapping[tuple[str, str], float], changes: int, jobs: int) -> list[Line]:
    """A job that is posted and read once, of what was counted for several."""

    def each(service: str, *names: str) -> float:
        return sum(counted[service, name] for name in names) / jobs

    ddb, sqs, s3 = prices()["dynamodb"], prices()["sqs"], prices()["s3"]
    requests = 2.0
    sends = each("sqs", "SendMessage")
    queue = each("sqs", *(name for service, name in counted if service == "sqs"))
    log_gb = requests * ACCESS_LOG_BYTES / 1e9
    return [
        Line("API Gateway", "HTTP requests", requests, prices()["api_gateway"]["http_request"]),
        # Each request's function, the authorizer once (it is cached), the pusher for each change
        # by itself, the scaler once: batches are cheaper.
        *functions(requests + 1 + changes / jobs + 1),
        Line(
            "CloudWatch", "log GB of metrics", METRICS_BYTES / 1e9, prices()["cloudwatch"]["log_gb"]
        ),
        Line("CloudWatch", "log GB of requests", log_gb, prices()["cloudwatch"]["log_gb"]),
        Line("DynamoDB", "write units", each("dynamodb", "write units"), ddb["write_unit"]),
        Line("DynamoDB", "read units", each("dynamodb", "read units"), ddb["read_unit"]),
        Line("SQS", "calls", queue, sqs["request"]),
        Line("SQS", "messages with a group", sends, sqs["fair_request"]),
        Line("S3", "puts", each("s3", "PutObject", "CreateMultipartUpload"), s3["put"]),
        Line("S3", "gets of the result", each("s3", "PutObject"), s3["get"]),
    ]


def idle_month(alarm_metrics: int, dashboards: int, metrics_free: bool) -> list[Line]:
    """A month in which nothing happens, besides stored bytes."""
    watch, ddb, sqs = prices()["cloudwatch"], prices()["dynamodb"], prices()["sqs"]
    free = (watch["free_alarm_metrics"], watch["free_dashboards"]) if metrics_free else (0, 0)
    # The sweeper queries 16 shards and the slots' shards, the scaler reads its row and 3 queues.
    reads = TICKS_A_MONTH * (_sweeper_queries() * 0.5 + 1)
    return [
        Line("Scheduler", "calls", 2 * TICKS_A_MONTH, prices()["scheduler"]["call"]),
        *functions(2 * TICKS_A_MONTH),
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


# --- counting -------------------------------------------------------------------------------------


async def run_jobs(jobs: int) -> tuple[Mapping[tuple[str, str], float], int]:
    """Post, run and read that many; what was counted, and how many changes the stream told."""
    with tempfile.TemporaryDirectory() as folder, _functions() as (ledger, client):
        options = Options(data_dir=Path(folder), port=0, step_ms=STEP_MS)
        async with Simulator(options) as engine:
            posted = [client("POST", "/api/v1/jobs", PICTURE).json["job_id"] for _ in range(jobs)]
            await _work(engine.url, posted, ledger)
        changes = [image for table, image in ledger.changes if _is_job(table, image)]
        push_updates.handler({"Records": [_record(image) for image in changes]}, None)
        for job_id in posted:
            assert client("GET", f"/api/v1/jobs/{job_id}").json["status"] == "succeeded"
        return ledger.counted, len(changes)


@contextmanager
def _functions() -> Iterator[tuple[Ledger, gateway.Gateway]]:
    ledger = Ledger()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFAULT_CHECKPOINT", "sd15-sim.safetensors")
        patch.setitem(gateway.ENVIRONMENT, "DEFAULT_CHECKPOINT", "sd15-sim.safetensors")
        with gateway.functions_on_moto(patch, _wiring.clock):
            session = gateway._session()
            patch.setattr(boto3, "Session", lambda: session)
            ledger.watch(session)
            yield ledger, gateway.Gateway()


async def _work(url: str, posted: Sequence[str], ledger: Ledger) -> None:
    settings = WorkerSettings.from_environment({**os.environ, "COMFYUI_URL": url})
    terms = Terms(worker_id=random_worker_id(), lease=timedelta(seconds=120))
    logger = Logger(service="cost", level="WARNING")
    working = asyncio.create_task(worker._work(settings, terms, logger))
    ended = time.monotonic() + 60 + 30 * len(posted)
    while sum(_has_succeeded(image) for _, image in ledger.changes) < len(posted):
        assert time.monotonic() < ended, "the worker did not come to an end"
        assert not working.done(), working.exception()
        await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)  # the worker's handler drains it
    await working


def _has_succeeded(image: Image) -> bool:
    after = image[1] or {}
    return bool(after.get("status", {}).get("S") == "succeeded")


def _is_job(table: str, image: Image) -> bool:
    row = image[1] or image[0] or {}
    return table == "jobs" and row["sk"]["S"] == "job"


def _record(image: Image) -> dict[str, Any]:
    before, after = image
    row: Any = after or before
    keys = {"pk": row["pk"], "sk": row["sk"]}
    told = {"Keys": keys, "SequenceNumber": "1", "NewImage": after, "OldImage": before}
    return {"eventName": "MODIFY", "dynamodb": {k: v for k, v in told.items() if v is not None}}


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


def _goals(job: Sequence[Line], metrics: int, dashboards: int) -> str:
    told = []
    million = sum(line.dollars for line in job) * MILLION
    idle = sum(line.dollars for line in idle_month(metrics, dashboards, True))
    for what, dollars, goal in (("1M jobs", million, GOAL), ("an idle month", idle, IDLE_GOAL)):
        verdict = "within" if dollars <= goal else "**over**"
        told.append(f"{what}: ${dollars:.2f}, {verdict} the goal of ${goal:.2f}")
    return "; ".join(told) + "."


def _observability() -> Any:
    """The template of what watches a deployment, with everything as it is when nothing is said."""
    from infra.app import add_stacks, new_app
    from infra.assets import CodeAsset
    from infra.deployment import Deployment

    given = {"default_checkpoint": "some.safetensors", "worker_image": "registry.example/worker:1"}
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


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/cost.md"))
    options = parser.parse_args()
    metrics, dashboards = watched(_observability())
    counted, changes = asyncio.run(run_jobs(options.jobs))
    text = PAGE.read_text().format(
        job="\n".join(table(unwatched_job(counted, changes, options.jobs), MILLION, "$ per 1M")),
        idle="\n".join(table(idle_month(metrics, dashboards, True), 1, "$ a month")),
        alarm_metrics=metrics,
        goals=_goals(unwatched_job(counted, changes, options.jobs), metrics, dashboards),
        full=sum(line.dollars for line in idle_month(metrics, dashboards, False)),
        calls=", ".join(
            f"{count / options.jobs:.3g} {service} {name}"
            for (service, name), count in sorted(counted.items())
        ),
        changes=changes / options.jobs,
        billed_ms=BILLED_MS,
        log_bytes=LOG_BYTES,
        access_log_bytes=ACCESS_LOG_BYTES,
    )
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
