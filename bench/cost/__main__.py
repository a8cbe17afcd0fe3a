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


async def _counts(jobs: int) -> tuple[Counts, Counts]:
    return await count(1), await count(jobs)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="bench.cost", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help="jobs to count (default: 21)")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/cost.md"), help="page (default: docs/cost.md)"
    )
    options = parser.parse_args()
    alone, several = asyncio.run(_counts(options.jobs))
    text = page(several, alone, *watched())
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
