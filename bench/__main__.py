"""`make bench`: measure every figure of the running service, and print them in one table."""

from __future__ import annotations

from bench import api, comfy_sdk, functions, handler, live, overhead, page, run, worker
from bench.cost import measurements as cost

MEASUREMENTS = (
    *api.MEASUREMENTS,
    *overhead.MEASUREMENTS,
    *comfy_sdk.MEASUREMENTS,
    *live.MEASUREMENTS,
    *handler.MEASUREMENTS,
    *functions.MEASUREMENTS,
    *cost.MEASUREMENTS,
    *worker.MEASUREMENTS,
)

if __name__ == "__main__":
    raise SystemExit(run.main(MEASUREMENTS, __doc__, "all", lambda: page.write(MEASUREMENTS)))
