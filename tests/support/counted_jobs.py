"""Runs jobs through the functions and the worker in this process, and counts every AWS call.

Jobs run on moto and on the ComfyUI simulator. `python -m tests.support.counted_jobs --jobs 21`
prints the counts as JSON; `make cost` multiplies them with AWS's prices.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import io
import json
import logging
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from comfyline.service.access.slots import Limits
from comfyline.service.jobs.job import TERMINAL, Status
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from functions._wiring import utc_now
from gpu_worker.__main__ import work
from gpu_worker.wiring import Wiring
from tests.support import gateway
from tests.support.aws_ledger import Change, Item, Ledger
from tests.support.counted_functions import Functions, Work, deployed, measured

STEP_MS = 500.0  # 20 steps take 10 s
LAST_LINES = 20  # of the worker's log, shown if it stops too early
# The lock of the simulator.
SIMULATED = Path(__file__).parents[2].joinpath("localcloud", "engine.lock.toml")


@dataclass(slots=True)
class Counted:
    """The counts of `jobs` jobs. `units` are DynamoDB's for each step, by table and index."""

    jobs: int
    calls: Mapping[str, float] = field(default_factory=dict)  # until the job was read and pushed
    units: Mapping[str, Counter[str]] = field(default_factory=dict)
    functions: Mapping[str, Work] = field(default_factory=dict)
    metrics: Sequence[str] = ()  # the log lines that are metrics, of functions and worker
    printed: Sequence[str] = ()  # all other log lines of the functions
    worker_log: Sequence[str] = ()

    def note_lines(self, printed: str, worker_log: str) -> None:
        """Sort the printed lines into metrics and others."""
        lines = printed.splitlines()
        self.metrics = [line for line in lines if _is_metric(line)]
        self.printed = [line for line in lines if not _is_metric(line)]
        self.worker_log = worker_log.splitlines()


async def run_jobs(jobs: int, step_ms: float = STEP_MS, cap: int | None = None) -> Counted:
    """Post, run, push, read and settle `jobs` jobs of a key with this cap of active jobs."""
    log, printed = io.StringIO(), io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(printed),
        _functions(printed, cap) as functions,
    ):
        ledger = functions.ledger
        printed.truncate(printed.seek(0))  # without the lines of the deployment
        options = Options(data_dir=Path(folder), port=0, step_ms=step_ms)
        async with Simulator(options) as engine:
            posted = [functions.post() for _ in range(jobs)]
            for change in _changes(ledger, _is_new):
                functions.arrive(change)
            await _work(engine.url, posted, ledger, log)
        for change in _changes(ledger, _is_end):
            functions.settle(change)
        for change in _changes(ledger, _is_watched):
            functions.push(change)
        read = [functions.read(job_id) for job_id in posted]
        assert {job["status"] for job in read} == {"succeeded"}, read
        counted = Counted(jobs, dict(ledger.counted), dict(ledger.units), functions.work)
        counted.note_lines(printed.getvalue(), log.getvalue())
        return counted


@contextmanager
def _functions(printed: io.StringIO, cap: int | None) -> Iterator[Functions]:
    ledger = Ledger(step_of)
    with (
        pytest.MonkeyPatch.context() as patch,
        gateway.functions_on_moto(patch, utc_now, SIMULATED) as api,
    ):
        session = gateway.boto_session()
        patch.setattr(boto3, "Session", lambda: session)  # the worker's
        token = deployed(api, session, patch, printed, Limits(max_active_jobs=cap))
        with ledger.watching(session):
            # The ledger counts only clients that are created within this block.
            yield Functions(ledger, token, measured(api, session))


async def _work(url: str, posted: Sequence[str], ledger: Ledger, log: io.StringIO) -> None:
    # Thumbnails are made after the end, so their number would depend on when the worker stops.
    wiring = Wiring({**os.environ, "COMFYUI_URL": url, "THUMBNAILS": "false"})
    logger = Logger(service="gpu_worker")
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(log)
    with _also_handling(logger, "comfyline"):
        await _until_all_have_ended(work(wiring, logger), posted, ledger, log)


@contextmanager
def _also_handling(logger: Logger, name: str) -> Iterator[None]:
    """Send the lines of the logger with that name to the same stream, as the worker does."""
    other = logging.getLogger(name)
    other.addHandler(logger.registered_handler)
    other.setLevel(logging.INFO)
    try:
        yield
    finally:
        other.removeHandler(logger.registered_handler)
        other.setLevel(logging.NOTSET)


async def _until_all_have_ended(
    work: Coroutine[Any, Any, None], posted: Sequence[str], ledger: Ledger, log: io.StringIO
) -> None:
    """Wait for the ends, and stop the worker then.

    Raises:
        RuntimeError: the worker has stopped before, for example by a signal to all processes of a
            command that took too long. The message has the end of its log.
    """
    working = asyncio.create_task(work)
    give_up_at = time.monotonic() + 60 + 30 * len(posted)
    while len(ends := _ends(ledger)) < len(posted):
        assert time.monotonic() < give_up_at, "the worker did not finish its jobs in time"
        if working.done():
            end = "\n".join(log.getvalue().splitlines()[-LAST_LINES:])
            message = f"the worker stopped before its jobs ended; its last lines:\n{end}"
            raise RuntimeError(message) from working.exception()
        await asyncio.sleep(0.05)
    assert set(ends) == {Status.SUCCEEDED}, ends
    os.kill(os.getpid(), signal.SIGTERM)  # the worker's handler drains it
    await working


def _ends(ledger: Ledger) -> list[str]:
    return [status for _, change in ledger.changes if (status := _end(change))]


def _end(change: Change) -> str | None:
    """The terminal status that the change gave to a job; None for any other change."""
    before, after = ((item or {}).get("status", {}).get("S") for item in change)
    return after if after in TERMINAL and before not in TERMINAL else None


def _changes(ledger: Ledger, wanted: Callable[[str, Change], bool]) -> list[Change]:
    return [change for table, change in ledger.changes if wanted(table, change)]


def _is_new(table: str, change: Change) -> bool:
    """A filter of settle_jobs' event source."""
    before, after = change
    return table == "jobs" and before is None and after is not None and after["sk"] == _JOB


def _is_end(table: str, change: Change) -> bool:
    """The other filter of settle_jobs' event source; a test compares both with the template's."""
    return table == "jobs" and (change[1] or {}).get("sk") == _JOB and _end(change) is not None


def _is_watched(table: str, change: Change) -> bool:
    """The filter of the pusher's event source, which a test compares with the template's."""
    item = change[1] or {}
    return table == "jobs" and item.get("sk") == _JOB and "watched_until" in item


_JOB = {"S": "job"}


def _is_metric(line: str) -> bool:
    return '"_aws":' in line


# --- the steps of a job ---------------------------------------------------------------------------


def step_of(table: str, change: Change) -> str | None:
    """The step of a job that a write belongs to; None for what a worker reports of itself."""
    before, after = change
    item: Item = after or before or {}
    pk, sk = item["pk"]["S"], item["sk"]["S"]
    if pk in ("workers", "engine"):
        return None
    if table == "owners":
        kind = pk.partition("#")[0]
        return kind if kind == "slots" else f"count: {kind}"
    if sk != "job":
        return f"put: {sk.removeprefix('job#').partition('#')[0]}"
    if after is None:
        return "removed"
    return _event_of(before, after)


def _event_of(before: Item | None, after: Item) -> str:
    lines, known = (item.get("history", {"L": []})["L"] if item else [] for item in (after, before))
    if lines != known:
        return str(lines[-1]["S"].split()[2])
    return "settled" if before and "settle_pending" in before else "progress"


def main() -> None:
    """Run the jobs, and print the counts as JSON."""
    parser = argparse.ArgumentParser(prog="tests.support.counted_jobs", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="number of jobs (default: 1)")
    parser.add_argument("--cap", type=int, help="active jobs that the key allows (default: any)")
    given = parser.parse_args()
    counted = asyncio.run(run_jobs(given.jobs, cap=given.cap))
    content = {field.name: getattr(counted, field.name) for field in dataclasses.fields(counted)}
    print(json.dumps(content, default=dataclasses.asdict))


if __name__ == "__main__":
    main()
