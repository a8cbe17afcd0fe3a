"""Each counted job is recorded once, also if only some of several jobs could be counted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from comfyline.adapters.memory.ledger import InMemoryLedger
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.count import count
from comfyline.service.ledger.store import COUNTED_AT_ONCE
from comfyline.service.metrics import Metric
from tests.support.builders import a_job, succeeded


class Throttled(InMemoryLedger):
    """Counts up to COUNTED_AT_ONCE jobs together, and fails once, at the second of its calls."""

    calls = 0

    def count(self, ended: Sequence[Job]) -> list[Job]:
        counted: list[Job] = []
        for start in range(0, len(ended), COUNTED_AT_ONCE):
            self.calls += 1
            if self.calls == 2:
                raise Unavailable("throttled")
            counted += super().count(ended[start : start + COUNTED_AT_ONCE])
        return counted


def test_jobs_that_were_counted_before_a_failure_are_recorded() -> None:
    jobs = [succeeded(a_job()) for _ in range(3 * COUNTED_AT_ONCE)]
    ledger, metrics = Throttled(), InMemoryMetrics()
    with pytest.raises(Unavailable):
        count(jobs, ledger=ledger, metrics=metrics)
    count(jobs, ledger=ledger, metrics=metrics)
    assert metrics.sum(Metric.JOBS_ENDED, status="succeeded") == len(jobs)
