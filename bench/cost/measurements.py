"""The cost of a job, for the table of `make bench`."""

from __future__ import annotations

import asyncio

from bench.cloud import MeasuredCloud
from bench.cost import model
from bench.cost.__main__ import JOBS
from bench.cost.counts import count
from bench.cost.page import watched
from bench.figures import Figure, Measurement, Series


async def cost(_cloud: MeasuredCloud) -> Series:
    """Counted calls of one job, and dollars."""
    counts, deployed = await asyncio.gather(count(JOBS), asyncio.to_thread(watched))
    idle = model.idle_month(deployed, is_free_tier=True)
    return {
        "control_plane": [model.dollars(model.job_lines(counts, deployed)) * model.MILLION],
        "idle_month": [model.dollars(idle)],
        "aws_calls": [counts.aws_calls],
        "write_units": [counts.each("dynamodb write units")],
    }


# Counts do not depend on the machine, but the worker's polls and reports go by the clock.
EXACT = 1.03

MEASUREMENTS = (
    Measurement(
        name="what a job costs",
        take=cost,
        is_counted=True,
        figures=[
            Figure(
                name="control plane of 1M jobs",
                series="control_plane",
                unit="$",
                goal=model.GOAL,
                factor=EXACT,
            ),
            Figure(
                name="an idle month",
                series="idle_month",
                unit="$",
                goal=model.IDLE_GOAL,
                factor=EXACT,
            ),
            Figure(name="AWS calls of a job", series="aws_calls", unit="calls", factor=EXACT),
            Figure(name="write units of a job", series="write_units", unit="units", factor=EXACT),
        ],
    ),
)
