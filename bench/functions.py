"""How soon a function is ready: its import and the clients it makes, over boto3 with the same.

Each try is a fresh interpreter, the two in turn, so that the machine's moods meet both. The size of
the code is what the emulator has been given, as Lambda counts it.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence

from bench.figures import Figure, Measurement, Series
from bench.stage import Stage
from localcloud.emulator import REGION, Emulator
from localcloud.state import ROOT

TRIES = 7
# What each makes at its first call; the names are those of `functions._wiring._client`.
CLIENTS = {
    "submit_job": ("dynamodb", "sqs", "s3"),
    "get_job": ("dynamodb", "sqs", "s3"),
    "list_jobs": ("dynamodb",),
    "authorize": ("dynamodb",),
}
GOAL = 1.3  # times boto3's own
ASSET_MIB = 50.0  # what Lambda takes as a zip without S3; far less is usual

_TIMED = "import time; started = time.perf_counter()\n{}\nprint(time.perf_counter() - started)"
_BARE = "import boto3\nsession = boto3.Session()\n{}"
_OURS = "from functions import _wiring, {}\n{}"


async def readiness(stage: Stage) -> Series:
    """For each function: milliseconds of import and clients, and the same over bare boto3."""
    series: dict[str, Sequence[float]] = {}
    for name, clients in CLIENTS.items():
        pairs = await asyncio.to_thread(_pairs, name, clients, stage.many(TRIES))
        ours, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
        series |= {f"ready_{name}": [ours], f"over_boto3_{name}": [ours / bare]}
    return series


def _pairs(name: str, clients: Sequence[str], tries: int) -> list[tuple[float, float]]:
    ours = _OURS.format(name, "\n".join(f"_wiring._client({one!r})" for one in clients))
    bare = _BARE.format("\n".join(f"session.client({one!r})" for one in clients))
    _fresh(ours), _fresh(bare)  # what is read from disk for the first time
    return [(_fresh(ours), _fresh(bare)) for _ in range(tries)]


def _fresh(code: str) -> float:
    """Milliseconds of the code in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(code)],
        cwd=ROOT,
        env={"AWS_DEFAULT_REGION": REGION, "POWERTOOLS_TRACE_DISABLED": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    return 1000 * float(done.stdout)


async def asset(stage: Stage) -> Series:
    """MiB of the zip that all functions share."""
    endpoints = stage.endpoints
    emulator = Emulator(endpoints.aws_endpoint_url, endpoints.pids.emulator)

    def sizes() -> Iterator[float]:
        pages = emulator.client("lambda").get_paginator("list_functions").paginate()
        for page in pages:
            yield from (function["CodeSize"] / 2**20 for function in page["Functions"])

    return {"asset": await asyncio.to_thread(lambda: list(sizes()))}


def _figures() -> Iterator[Figure]:
    for name in CLIENTS:
        yield Figure(name=f"{name}: import and clients", series=f"ready_{name}", slack=100)
        yield Figure(
            name=f"{name}: the same over bare boto3",
            series=f"over_boto3_{name}",
            unit="x",
            goal=GOAL,
            slack=0.1,
        )


MEASUREMENTS = (
    Measurement(name="readiness of the functions", take=readiness, figures=tuple(_figures())),
    Measurement(
        name="size of the functions",
        take=asset,
        figures=[
            Figure(
                name="code of the functions, zipped",
                series="asset",
                statistic="max",
                unit="MiB",
                goal=ASSET_MIB,
                factor=1.1,
            )
        ],
    ),
)
