"""The cold starts of the functions, and the size of their code.

The size is that of the zip that was deployed to the emulator, as Lambda counts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from bench.cloud import MeasuredCloud
from bench.cold_start import CLIENTS, cold_start
from bench.figures import Figure, Measurement, Series
from localcloud.emulator import Emulator

TRIES = 5
GOAL = 1.3  # times boto3's CPU time
ASSET_MIB = 15.0


async def cold_starts(cloud: MeasuredCloud) -> Series:
    """The CPU time of each function's imports and clients, and its multiple of boto3's alone."""
    series: dict[str, Sequence[float]] = {}
    for name in CLIENTS:
        start = await asyncio.to_thread(cold_start, name, cloud.many(TRIES))
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
