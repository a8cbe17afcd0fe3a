"""Take measurements: a deployment for each size that they need, and the runs in turn."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from bench import results
from bench.figures import Measurement, Result, Series, results_of
from bench.stage import Stage, a_cloud, staged
from bench.table import show

RUN_SECONDS = 900.0  # the longest takes a third of it

logger = logging.getLogger(__name__)


def main(measurements: Sequence[Measurement], description: str | None, kept: str) -> int:
    """Measure, print a table, write the JSON; 1 where a figure fell by more than it may.

    `kept` names the file under bench/results/ that is compared with, and written by --keep.
    """
    given = _options(description).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and leave no cloud behind
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
    return int(any(line.is_worse for line in comparison))


def _options(description: str | None) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--runs", type=int, default=3, help="of each; the median counts")
    options.add_argument("--scale", type=float, default=1.0, help="of the number of jobs")
    options.add_argument("--only", nargs="+", default=[""], help="whose name holds one of these")
    options.add_argument("--endpoints", type=Path, help="endpoints.json of a cloud that is up")
    options.add_argument("--json", help="where the figures are written")
    options.add_argument("--keep", action="store_true", help="compare with these from now on")
    return options


async def _taken(measurements: Sequence[Measurement], given: argparse.Namespace) -> list[Result]:
    comfyui_url = os.environ.get("COMFYUI_URL")
    wanted = [each for each in measurements if not (comfyui_url and each.needs_simulator)]
    found: list[Result] = []
    for workers in sorted({each.workers for each in wanted}):
        of_size = [each for each in wanted if each.workers == workers]
        size = 1 if comfyui_url else workers
        with a_cloud(given.endpoints, workers=size, comfyui_url=comfyui_url) as state:
            async with staged(state, is_real=bool(comfyui_url), scale=given.scale) as stage:
                for measurement in of_size:
                    count = 1 if measurement.is_counted else given.runs
                    runs = [await _run(measurement, stage, n + 1) for n in range(count)]
                    results_now = results_of(measurement, [run for run in runs if run])
                    for result in results_now:  # a run that is stopped has told so much
                        text = f"  {result.figure.name}: {result.value:.2f} {result.figure.unit}"
                        print(text, file=sys.stderr)
                    found += results_now
    return found


async def _run(measurement: Measurement, stage: Stage, number: int) -> Series:
    """One run; empty if it failed, which costs its figures and no others."""
    print(f"{measurement.name}, run {number}", file=sys.stderr)
    series: Series = {}
    try:
        async with asyncio.timeout(RUN_SECONDS):
            series = await measurement.take(stage)
    except Exception:
        logger.exception("%s failed", measurement.name)
    try:  # what it has left must not be in the way of the next
        await stage.drained()
    except (TimeoutError, httpx.HTTPError) as error:
        print(f"{measurement.name} has left jobs: {error!r}", file=sys.stderr)
    return series
