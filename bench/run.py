"""Runs measurements, on a deployment for each number of workers that they need."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import httpx

from bench import results
from bench.cloud import MeasuredCloud, a_cloud, measured_cloud, stop_on_sigterm
from bench.figures import Measurement, Result, Series, Taken, results_of
from bench.straight import yardstick
from bench.table import show

RUN_SECONDS = 900.0  # the longest run takes a third of it

logger = logging.getLogger(__name__)


def main(
    measurements: Sequence[Measurement],
    description: str | None,
    kept: str,
    when_kept: Callable[[], object] = lambda: None,
) -> int:
    """Measure, print a table, and write the JSON; the exit status is 1 if a figure is a regression.

    `kept` names the file in bench/results/ that is compared with, and that --keep writes; then it
    calls `when_kept`.
    """
    given = _options(description).parse_args()
    stop_on_sigterm()
    chosen = [each for each in measurements if any(word in each.name for word in given.only)]
    found = asyncio.run(_taken(chosen, given))
    before = results.read(results.FOLDER / f"{kept}.json")
    comparison = results.compared(found, before)
    taken = {result.figure.name for result in found}
    figures = [figure for each in chosen for figure in each.figures]
    show(comparison, [figure for figure in figures if figure.name not in taken], before)
    document = results.document(found)
    Path(given.json or os.devnull).write_text(document)
    if given.keep:
        results.keep(results.FOLDER / f"{kept}.json", document)
        when_kept()
    return int(any(line.is_worse for line in comparison))


def _options(description: str | None) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--runs", type=int, default=3, help="of each measurement (default: 3)")
    options.add_argument(
        "--scale", type=float, default=1.0, help="factor on the number of jobs (default: 1)"
    )
    options.add_argument(
        "--only", nargs="+", default=[""], help="run measurements with one of these in the name"
    )
    options.add_argument("--endpoints", type=Path, help="endpoints.json of a cloud that is up")
    options.add_argument("--json", help="write the figures to this file")
    options.add_argument("--keep", action="store_true", help="compare later runs with this one")
    return options


async def _taken(measurements: Sequence[Measurement], given: argparse.Namespace) -> list[Result]:
    comfyui_url = os.environ.get("COMFYUI_URL")
    wanted = [each for each in measurements if not (comfyui_url and each.needs_simulator)]
    found: list[Result] = []
    for workers in sorted({each.workers for each in wanted}):
        of_size = [each for each in wanted if each.workers == workers]
        size = 1 if comfyui_url else workers
        with a_cloud(given.endpoints, workers=size, comfyui_url=comfyui_url) as state:
            async with measured_cloud(state, is_real=bool(comfyui_url), scale=given.scale) as cloud:
                for measurement in of_size:
                    count = 1 if measurement.is_counted else given.runs
                    runs = [await _run(measurement, cloud, n + 1) for n in range(count)]
                    results_now = results_of(measurement, [run for run in runs if run.series])
                    for result in results_now:  # printed now, in case the run is stopped
                        text = f"  {result.figure.name}: {result.value:.2f} {result.figure.unit}"
                        print(text, file=sys.stderr)
                    found += results_now
    return found


async def _run(measurement: Measurement, cloud: MeasuredCloud, number: int) -> Taken:
    """One run. A run that fails gives no figures, and does not stop the others."""
    print(f"{measurement.name}, run {number}", file=sys.stderr)
    series: Series = {}
    before = await yardstick(cloud)
    try:
        async with asyncio.timeout(RUN_SECONDS):
            series = await measurement.take(cloud)
    except Exception:
        logger.exception("%s failed", measurement.name)
    try:  # so that jobs of this run do not delay the next one
        await cloud.drained()
    except (TimeoutError, httpx.HTTPError) as error:
        print(f"{measurement.name}: some jobs have not ended: {error!r}", file=sys.stderr)
    sticks = [stick for stick in (before, await yardstick(cloud)) if stick is not None]
    return Taken(series, fmean(sticks) if sticks else None)
