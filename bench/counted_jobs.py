"""Jobs through the functions and the worker in this process, with every AWS call counted."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from bench.calls import Image, Ledger, Row
from comfyline.domain.environment import Environment
from comfyline.domain.ids import random_worker_id
from comfyline.domain.job import TERMINAL, Status
from comfyline.settings import WorkerSettings
from comfyline.usecases.claim import Terms
from functions import _wiring, push_updates, sweep_jobs
from gpu_worker import __main__ as worker
from localcloud.comfyui_sim.options import Options
from localcloud.comfyui_sim.server import Simulator
from tests.support import gateway

PICTURE = {"prompt": "a red fox", "steps": 20, "width": 64, "height": 64}
STEP_MS = 500.0  # 20 steps are 10 s
RETENTION_OVER = timedelta(days=8)
# What the simulator has, as its own lock says.
SIMULATED = Environment.parse(
    Path(__file__).parents[1].joinpath("localcloud", "environment.lock.toml").read_text()
)

Calls = Mapping[tuple[str, str], float]


@dataclass(slots=True)
class Counted:
    """What so many jobs took; `units` are DynamoDB's for each step, by table and index."""

    jobs: int
    calls: Calls = field(default_factory=dict)  # until the job was read, and pushed
    units: Mapping[str, Counter[str]] = field(default_factory=dict)
    told: int = 0  # changes that the pusher is asked about
    worker_log_bytes: int = 0
    removal: Calls = field(default_factory=dict)  # once the retention is over


async def run_jobs(jobs: int, step_ms: float = STEP_MS) -> Counted:
    """Post, run, push and read that many, then let their retention pass."""
    clock, log = _Clock(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder, _functions(clock) as (ledger, client):
        options = Options(data_dir=Path(folder), port=0, step_ms=step_ms)
        async with Simulator(options) as engine:
            posted = [client("POST", "/api/v1/jobs", PICTURE).json["job_id"] for _ in range(jobs)]
            await _work(engine.url, posted, ledger, log)
        told = [image for table, image in ledger.changes if _is_told(table, image)]
        for image in told:
            push_updates.handler({"Records": [_record(image)]}, None)
        for job_id in posted:
            assert client("GET", f"/api/v1/jobs/{job_id}").json["status"] == "succeeded"
        lines = len(told), len(log.getvalue())
        counted = Counted(jobs, dict(ledger.counted), dict(ledger.units), *lines)
        ledger.counted.clear()
        ledger.units.clear()
        clock.ahead = RETENTION_OVER
        assert sweep_jobs.handler({}, None)["Removed"] == jobs
        counted.removal = dict(ledger.counted)
        return counted


class _Clock:
    """The real one, and what it is put ahead by."""

    ahead = timedelta(0)

    def __call__(self) -> Any:
        return _REAL_CLOCK() + self.ahead


_REAL_CLOCK = _wiring.clock


@contextmanager
def _functions(clock: _Clock) -> Iterator[tuple[Ledger, gateway.Gateway]]:
    ledger = Ledger(step_of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_wiring, "environment", lambda: SIMULATED)
        with gateway.functions_on_moto(patch, clock):
            session = gateway._session()
            patch.setattr(boto3, "Session", lambda: session)
            with ledger.watching(session):
                yield ledger, gateway.Gateway()


async def _work(url: str, posted: Sequence[str], ledger: Ledger, log: io.StringIO) -> None:
    settings = WorkerSettings.from_environment({**os.environ, "COMFYUI_URL": url})
    terms = Terms(worker_id=random_worker_id(), lease=timedelta(seconds=120))
    logger = Logger(service="gpu_worker", stream=log)
    with _also_of(logger, "comfyline", "gpu_worker"):
        await _until_all_have_ended(worker._work(settings, terms, logger), posted, ledger)


@contextmanager
def _also_of(logger: Logger, *names: str) -> Iterator[None]:
    """What these loggers are told goes the same way, as in the worker's own process."""
    others = [logging.getLogger(name) for name in names]
    for other in others:
        other.addHandler(logger.registered_handler)
        other.setLevel(logging.INFO)
    try:
        yield
    finally:
        for other in others:
            other.removeHandler(logger.registered_handler)
            other.setLevel(logging.NOTSET)


async def _until_all_have_ended(
    work: Coroutine[Any, Any, None], posted: Sequence[str], ledger: Ledger
) -> None:
    working = asyncio.create_task(work)
    ended = time.monotonic() + 60 + 30 * len(posted)
    while len(ends := [end for _, image in ledger.changes if (end := _end(image))]) < len(posted):
        assert time.monotonic() < ended, "the worker did not come to an end"
        assert not working.done(), working.exception() or "the worker was told to stop"
        await asyncio.sleep(0.05)
    assert set(ends) == {Status.SUCCEEDED}, ends
    os.kill(os.getpid(), signal.SIGTERM)  # the worker's handler drains it
    await working


def _end(image: Image) -> str | None:
    """How the change has ended a job; None if it has not."""
    before, after = ((row or {}).get("status", {}).get("S") for row in image)
    return after if after in TERMINAL and before not in TERMINAL else None


def _is_told(table: str, image: Image) -> bool:
    """The filter of the pusher's event source; a test of the template holds it."""
    row = image[1] or {}
    return (
        table == "jobs" and row.get("sk") == _ROW and bool({"watched_until", "expires_at"} & {*row})
    )


_ROW = {"S": "job"}


def _record(image: Image) -> dict[str, Any]:
    before, after = image
    row: Any = after or before
    keys = {"pk": row["pk"], "sk": row["sk"]}
    told = {"Keys": keys, "SequenceNumber": "1", "NewImage": after, "OldImage": before}
    return {"eventName": "MODIFY", "dynamodb": {k: v for k, v in told.items() if v is not None}}


# --- the steps of a job ---------------------------------------------------------------------------


def step_of(table: str, image: Image) -> str | None:
    """Which step of a job a write is; None for what a worker tells of itself."""
    before, after = image
    row: Row = after or before or {}
    pk, sk = row["pk"]["S"], row["sk"]["S"]
    if pk == "workers":
        return None
    if table == "owners":
        return f"count: {pk.partition('#')[0]}"
    if sk != "job":
        return f"put: {sk.removeprefix('job#').partition('#')[0]}"
    if after is None:
        return "removed"
    return _event_of(before, after)


def _event_of(before: Row | None, after: Row) -> str:
    lines, known = (row.get("history", {"L": []})["L"] if row else [] for row in (after, before))
    return str(lines[-1]["S"].split()[2]) if lines != known else "progress"
