"""How much waits and runs: the caller's jobs, and the whole service if the key may see it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from comfyline.client.screen import span
from comfyline.contract.v1.responses import JobView

# One sample of Prometheus's text format, such as `comfyui_queue_depth{priority="high"} 3.0`
_SAMPLE = re.compile(r'([a-z_]+)(?:\{[a-z]+="([^"]*)"\})? ([0-9.eE+-]+)')


@dataclass(frozen=True, slots=True)
class Load:
    """Numbers of this moment. `service` is empty if the key lacks the scope `admin`."""

    mine: dict[str, int]
    next_place: int | None  # of the caller's waiting jobs, the first place in the queue
    service: dict[tuple[str, str], float]

    @classmethod
    def of(cls, jobs: Sequence[JobView], metrics: str | None) -> Self:
        """The load from the caller's unfinished jobs and the service's metrics."""
        places = [job.queue_position for job in jobs if job.queue_position is not None]
        return cls(
            mine=dict(Counter(job.status for job in jobs)),
            next_place=min(places, default=None),
            service=dict(_samples(metrics or "")),
        )

    @property
    def waiting(self) -> dict[str, int]:
        """The number of waiting tickets by priority."""
        depths = (
            (key[1], int(value))
            for key, value in self.service.items()
            if key[0] == "comfyui_queue_depth"
        )
        return dict(depths)

    @property
    def mean_wait(self) -> timedelta | None:
        """The mean time from the post of an ended job to its start; None if no job has ended."""
        count = self._value("comfyui_job_wait_seconds_count")
        seconds = self._value("comfyui_job_wait_seconds_sum")
        return timedelta(seconds=seconds / count) if count else None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Names and texts for people."""
        mine = ", ".join(f"{number} {status}" for status, number in sorted(self.mine.items()))
        yield "your jobs", mine or "none waits or runs"
        if self.next_place is not None:
            yield "your next job", f"about number {self.next_place} in the queue"
        if not self.service:
            yield "the service", "only a key with the scope admin sees its queue and workers"
            return
        lanes = ", ".join(f"{number} {priority}" for priority, number in self.waiting.items())
        yield "queue", f"{sum(self.waiting.values())} waiting ({lanes})"
        yield "running", f"{self._value('comfyui_running_jobs'):.0f} jobs"
        yield "workers", self._workers()
        if self.mean_wait is not None:
            yield "mean wait", f"{span(self.mean_wait)}, of all ended jobs"

    def _workers(self) -> str:
        unhealthy = self._value("comfyui_unhealthy_workers")
        out = f", {unhealthy:.0f} of them out of order" if unhealthy else ""
        return f"{self._value('comfyui_active_workers'):.0f} active{out}"

    def as_json(self) -> dict[str, object]:
        """The same for programs. Of the service it has null if the key may not see it."""
        service = {
            "waiting": self.waiting,
            "running": int(self._value("comfyui_running_jobs")),
            "workers": int(self._value("comfyui_active_workers")),
            "unhealthy_workers": int(self._value("comfyui_unhealthy_workers")),
            "mean_wait_seconds": self.mean_wait and round(self.mean_wait.total_seconds(), 3),
        }
        mine = {"jobs": self.mine, "next_place": self.next_place}
        return {"mine": mine, "service": service if self.service else None}

    def _value(self, name: str) -> float:
        return self.service.get((name, ""), 0.0)


def _samples(metrics: str) -> Iterator[tuple[tuple[str, str], float]]:
    for line in metrics.splitlines():
        if sample := _SAMPLE.fullmatch(line):
            try:
                yield (sample[1], sample[2] or ""), float(sample[3])
            except ValueError:
                continue  # such as "1e+"
