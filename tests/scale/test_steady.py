"""Minutes of steady traffic: 200 posts a second, 1,000 workers that are busy most of the time.

A run of `make test` has a twentieth of both. The stream delivers some ends twice.
"""

from __future__ import annotations

import pytest

from tests.scale.report import Report, Row
from tests.scale.simulation import Simulation
from tests.scale.traffic import Load, Traffic


@pytest.mark.timeout(1800)  # at full size
def test_steady_traffic_leaves_no_growing_backlog(report: Report, is_long: bool) -> None:
    scale, minutes = (1.0, 10) if is_long else (0.05, 4)
    second, workers = 200 * scale, round(1_000 * scale)
    traffic = Traffic(Simulation(), Load(posts_per_second=second, workers=workers))
    traffic.simulation.run(lambda: traffic.run(minutes))
    load = f"steady: {second:g} posts/s, {workers} workers, {minutes} min"
    middle, last = traffic.minutes[minutes // 2 - 1], traffic.minutes[-1]
    waits = sorted(traffic.waits)
    longest = max(minute.sweep_seconds for minute in traffic.minutes)
    left = traffic.swept("OutOfTime")
    ended = 100 * traffic.ended / traffic.posted
    growth = last.waiting - middle.waiting
    report.check(
        Row(load, "ended, of those posted", ended, 96, "%", is_minimum=True),
        Row(load, "growth of the queue since half-time", growth, 5 * second, "tickets"),
        Row(load, "ends that are not settled", last.unsettled, 3 * second, ""),
        Row(load, "the longest round of the sweeper", longest, 40, "s"),
        Row(load, "jobs that the sweeper had no time for", left, 0, ""),
        Row(load, "from post to start, p99", waits[len(waits) * 99 // 100], 10, "s"),
    )
    assert traffic.slots() <= traffic.posted - traffic.ended + 5 * second, "slots leak"
