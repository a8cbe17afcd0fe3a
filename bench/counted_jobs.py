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
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from bench.calls import Image, Ledger, Row
from bench.counted_functions import Functions, Work, deployed, measured
from comfyline.service.jobs.job import TERMINAL, Status
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from functions._wiring import utc_now
from gpu_worker.__main__ import work
from gpu_worker.wiring import Wiring
from tests.support import gateway

STEP_MS = 500.0  # 20 steps are 10 s
RETENTION_OVER = timedelta(days=8)
# What the simulator has, as its own lock says.
SIMULATED = Path(__file__).parents[1].joinpath("localcloud", "engine.lock.toml")

Calls = Mapping[tuple[str, str], float]


@dataclass(slots=True)
class Counted:
    """What so many jobs took; `units` are DynamoDB's for each step, by table and index."""

    jobs: int
    calls: Calls = field(default_factory=dict)  # until the job was read, and pushed
    units: Mapping[str, Counter[str]] = field(default_factory=dict)
    functions: Mapping[str, Work] = field(default_factory=dict)
    metrics: Sequence[str] = ()  # the lines that are metrics, of functions and worker
    printed: Sequence[str] = ()  # what the functions have printed beside them
    worker_log: Sequence[str] = ()
    removal: Calls = field(default_factory=dict)  # once the retention is over

    def note_lines(self, printed: str, worker_log: str) -> None:
        """Sort out what was said."""
        lines = printed.splitlines()
        self.metrics = [line for line in lines if _is_metric(line)]
        self.printed = [line for line in lines if not _is_metric(line)]
        self.worker_log = worker_log.splitlines()


async def run_jobs(jobs: int, step_ms: float = STEP_MS) -> Counted:
    """Post, run, push and read that many, then let their retention pass."""
    clock, log, printed = _Clock(), io.StringIO(), io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(printed),
        _functions(clock, printed) as functions,
    ):
        ledger = functions.ledger
        printed.truncate(printed.seek(0))  # what deploying has said
        options = Options(data_dir=Path(folder), port=0, step_ms=step_ms)
        async with Simulator(options) as engine:
            posted = [functions.post() for _ in range(jobs)]
            for image in _those(ledger, _is_new):
                functions.wake(image)
            await _work(engine.url, posted, ledger, log)
        for image in _those(ledger, _is_told):
            functions.push(image)
        assert {functions.read(job_id)["status"] for job_id in posted} == {"succeeded"}
        counted = Counted(jobs, dict(ledger.counted), dict(ledger.units), functions.work)
        counted.note_lines(printed.getvalue(), log.getvalue())
        counted.removal = _removal(jobs, functions, clock)
        return counted


def _removal(jobs: int, functions: Functions, clock: _Clock) -> Calls:
    ledger = functions.ledger
    ledger.counted.clear()
    ledger.units.clear()
    clock.ahead = RETENTION_OVER
    assert functions.api.call("SweepJobs", {})["Removed"] == jobs
    return dict(ledger.counted)


class _Clock:
    """The real one, and what it is put ahead by."""

    ahead = timedelta(0)

    def __call__(self) -> Any:
        return utc_now() + self.ahead


@contextmanager
def _functions(clock: _Clock, printed: io.StringIO) -> Iterator[Functions]:
    ledger = Ledger(step_of)
    with (
        pytest.MonkeyPatch.context() as patch,
        gateway.functions_on_moto(patch, clock, SIMULATED) as api,
    ):
        session = gateway.boto_session()
        patch.setattr(boto3, "Session", lambda: session)  # the worker's
        token = deployed(api, session, patch, printed)
        with ledger.watching(session):
            # Only clients that are made from now on are counted.
            yield Functions(ledger, token, measured(api, session))


async def _work(url: str, posted: Sequence[str], ledger: Ledger, log: io.StringIO) -> None:
    wiring = Wiring({**os.environ, "COMFYUI_URL": url})
    logger = Logger(service="gpu_worker")
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(log)
    with _also_of(logger, "comfyline"):
        await _until_all_have_ended(work(wiring, logger), posted, ledger)


@contextmanager
def _also_of(logger: Logger, name: str) -> Iterator[None]:
    """What this logger is told goes the same way, as in the worker's own process."""
    other = logging.getLogger(name)
    other.addHandler(logger.registered_handler)
    other.setLevel(logging.INFO)
    try:
        yield
    finally:
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


def _those(ledger: Ledger, wanted: Callable[[str, Image], bool]) -> list[Image]:
    return [image for table, image in ledger.changes if wanted(table, image)]


def _is_new(table: str, image: Image) -> bool:
    """The filter of the scaler's event source."""
    before, after = image
    return table == "jobs" and before is None and after is not None and after["sk"] == _ROW


def _is_told(table: str, image: Image) -> bool:
    """The filter of the pusher's event source; a test of the template holds it."""
    row = image[1] or {}
    return (
        table == "jobs" and row.get("sk") == _ROW and bool({"watched_until", "expires_at"} & {*row})
    )


_ROW = {"S": "job"}


def _is_metric(line: str) -> bool:
    return '"_aws":' in line


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
