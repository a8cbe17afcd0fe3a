"""The cold starts of the functions, and the size of their code.

The size is that of the zip that was deployed to the emulator, as Lambda counts it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.cloud import MeasuredCloud
from bench.figures import Figure, Measurement, Series
from infra.functions import FUNCTIONS
from localcloud.emulator import Emulator
from tools.cold_starts import GOAL, Lambda

TRIES = 3
ASSET_MIB = 15.0


async def cold_starts(cloud: MeasuredCloud) -> Series:
    """The CPU time of each function's import and clients, and its multiple of boto3's alone.

    Without a Python of Lambda's version, nothing is measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        on_lambda = await asyncio.to_thread(Lambda.prepared, Path(folder))
        if on_lambda is None:
            return {}
        series: dict[str, Sequence[float]] = {}
        for name, row in FUNCTIONS.items():
            tries = cloud.many(TRIES)
            start = await asyncio.to_thread(on_lambda.cold_start, row, tries)
            series |= {f"ready_{name}": [start.ours], f"over_boto3_{name}": [start.ratio]}
        return series


async def asset(cloud: MeasuredCloud) -> Series:
    """The size in MiB of the zip that all functions share."""
    endpoints = cloud.endpoints
    emulator = Emulator(endpoints.aws_endpoint_url, endpoints.pids.emulator)

    def sizes() -> Iterator[float]:
        pages = emulator.client("lambda").get_paginator("list_functions").paginate()
        for page in pages:
            yield from (function["CodeSize"] / 2**20 for function in page["Functions"])

    return {"asset": await asyncio.to_thread(lambda: list(sizes()))}


def _figures() -> Iterator[Figure]:
    for name in FUNCTIONS:
        yield Figure(name=f"{name}: CPU of import and clients", series=f"ready_{name}", slack=100)
        yield Figure(
            name=f"{name}: the same over bare boto3",
            series=f"over_boto3_{name}",
            unit="x",
            goal=GOAL,
            slack=0.1,
        )


MEASUREMENTS = (
    Measurement(name="cold starts of the functions", take=cold_starts, figures=tuple(_figures())),
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
