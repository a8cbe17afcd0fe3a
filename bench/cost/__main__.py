"""`make cost`: count the AWS calls of jobs, multiply them with the prices, write docs/cost.md."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from bench.cost.counts import Counts, count
from bench.cost.page import page, watched

# A worker takes its turns between the three lanes several times; so the polls after the last job,
# which find nothing, weigh little in the average.
JOBS = 21


CAP = 20  # of the key of a job that is counted to learn what a cap adds


async def _counts(jobs: int) -> tuple[Counts, Counts, Counts]:
    return await count(jobs), await count(1), await count(1, cap=CAP)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="bench.cost", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help="jobs to count (default: 21)")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/cost.md"), help="page (default: docs/cost.md)"
    )
    options = parser.parse_args()
    text = page(*asyncio.run(_counts(options.jobs)), watched())
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
