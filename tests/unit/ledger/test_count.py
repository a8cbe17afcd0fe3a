"""Each counted job is recorded once, also if only some of several jobs could be counted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from comfyline.adapters.memory.ledger import InMemoryLedger
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.count import count
from comfyline.service.ledger.store import counted_together
from comfyline.service.metrics import Metric
from tests.support.builders import a_job, succeeded


class Throttled(InMemoryLedger):
    """Fails once, at the second part of the jobs."""

    calls = 0

    def count(self, ended: Sequence[Job]) -> list[Job]:
        counted: list[Job] = []
        for part in counted_together(ended):
            self.calls += 1
            if self.calls == 2:
                raise Unavailable("throttled")
            counted += super().count(part)
        return counted


def test_jobs_that_were_counted_before_a_failure_are_recorded() -> None:
    jobs = [succeeded(a_job()) for _ in range(150)]
    ledger, metrics = Throttled(), InMemoryMetrics()
    with pytest.raises(Unavailable):
        count(jobs, ledger=ledger, metrics=metrics)
    count(jobs, ledger=ledger, metrics=metrics)
    assert metrics.sum(Metric.JOBS_ENDED, status="succeeded") == len(jobs)
