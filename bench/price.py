"""What a job costs, for the table of figures; `bench.cost` counts it in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.cost import GOAL, IDLE_GOAL
from bench.figures import Figure, Measurement, Series
from bench.stage import Stage

COUNTS_FOR_SECONDS = 600  # 22 jobs of 10 s, one after another


async def price(_stage: Stage) -> Series:
    """Counted calls of one job, and dollars."""
    with tempfile.TemporaryDirectory() as folder:
        page, figures = Path(folder, "cost.md"), Path(folder, "figures.json")
        command = [sys.executable, "-m", "bench.cost", "--out", str(page)]
        counting = await asyncio.create_subprocess_exec(
            *command, "--figures", str(figures), stdout=subprocess.DEVNULL
        )
        assert await asyncio.wait_for(counting.wait(), COUNTS_FOR_SECONDS) == 0
        series: Series = json.loads(figures.read_text())
        return series


MEASUREMENTS = (
    Measurement(
        name="what a job costs",
        take=price,
        is_counted=True,
        figures=[
            Figure(name="control plane of 1M jobs", series="control_plane", unit="$", goal=GOAL),
            Figure(name="an idle month", series="idle_month", unit="$", goal=IDLE_GOAL),
            Figure(name="AWS calls of a job", series="aws_calls", unit="calls"),
            Figure(name="write units of a job", series="write_units", unit="units"),
        ],
    ),
)
