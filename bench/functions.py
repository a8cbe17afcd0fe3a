"""How soon a function is ready, and how much code it is.

The size of the code is what the emulator has been given, as Lambda counts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from bench.cold_start import CLIENTS, cold_start
from bench.figures import Figure, Measurement, Series
from bench.stage import Stage
from localcloud.emulator import Emulator

TRIES = 5
GOAL = 1.3  # times boto3's own
ASSET_MIB = 15.0


async def readiness(stage: Stage) -> Series:
    """For each function: milliseconds of CPU of import and clients, and over bare boto3."""
    series: dict[str, Sequence[float]] = {}
    for name in CLIENTS:
        start = await asyncio.to_thread(cold_start, name, stage.many(TRIES))
        series |= {f"ready_{name}": [start.ours], f"over_boto3_{name}": [start.ratio]}
    return series


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
        yield Figure(name=f"{name}: CPU of import and clients", series=f"ready_{name}", slack=100)
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
