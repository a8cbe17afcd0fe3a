"""`make simulate`: simulate days of traffic, and write docs/scaling.md with its picture."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench.simulation.frontier import measure_all, measure_boots, measure_sights
from bench.simulation.report import PICTURE, document, draw
from bench.simulation.workload import workloads

# Days to simulate, by the size of the fleet. A single GPU has few jobs a day, so it gets more days.
DAYS = {1: 7.0, 100: 1.0, 1_000: 1.0, 10_000: 1.0}
# The size for which the remedies are compared: the largest that one deployment is meant for.
LARGE = 1_000


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--docs", type=Path, default=Path("docs"), help="folder of the page (default: docs)"
    )
    docs: Path = parser.parse_args().docs
    began = time.monotonic()
    worlds = measure_all(list(workloads(DAYS)))
    sights = measure_sights(list(workloads({LARGE: DAYS[LARGE]})))
    text = document(worlds, sights, measure_boots(list(workloads({1: DAYS[1]}))))
    (docs / "scaling.md").write_text(text)
    draw(worlds, docs / PICTURE)
    print(text)
    print(f"The simulation took {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
