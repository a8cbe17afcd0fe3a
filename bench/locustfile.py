"""The load test: users who post a job a second each. `make load` runs it against a local cloud.

    locust -f bench/locustfile.py --headless --host <api url>      (COMFYLINE_API_KEY, see --help)

It fails on any error and beyond the floor; the aim is told, and counts with LOAD_STRICT=1. The same
numbers are in load.k6.js.
"""

from __future__ import annotations

import os
import statistics
import time
import uuid
from typing import Any

from locust import HttpUser, constant_pacing, events, task

USERS = 50
RUN_SECONDS = 300
PACE_SECONDS = 1
WARM_UP_SECONDS = 60
P99_FLOOR_MS = 5000
P99_AIM_MS = 500  # after the warm-up
MAX_ERRORS = 0

# A graph that costs an engine nothing: what is loaded is the service.
GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "load"}},
}


class Submitter(HttpUser):
    """Posts a job a second, each with a key of its own, however long the last one took."""

    wait_time = constant_pacing(PACE_SECONDS)

    def on_start(self) -> None:
        """Each user is a client of its own."""
        self.client.headers["Authorization"] = f"Bearer {os.environ['COMFYLINE_API_KEY']}"
        self.client.trust_env = False

    @task
    def submit(self) -> None:
        """Anything but a 202 is an error."""
        key = {"Idempotency-Key": uuid.uuid4().hex}
        post = self.client.post(
            "/api/v1/jobs", json={"workflow": GRAPH}, headers=key, catch_response=True
        )
        with post as answer:
            if answer.status_code != 202:
                answer.failure(f"{answer.status_code}: {answer.text[:200]}")


class Times:
    """Every response time with the second of the run that it came in."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.all: list[tuple[float, float]] = []
        self.errors = 0

    def add(self, milliseconds: float, *, failed: bool) -> None:
        """One answer."""
        self.all.append((time.monotonic() - self.started, milliseconds))
        self.errors += failed

    def p99(self, after_seconds: float) -> float:
        """Of the answers after that second; infinity where there were none."""
        times = [ms for second, ms in self.all if second >= after_seconds]
        return statistics.quantiles(times, n=100)[98] if len(times) > 1 else float("inf")

    def verdict(self) -> tuple[bool, str]:
        """Whether the run is good enough, and the figures in words."""
        whole, steady = self.p99(0), self.p99(WARM_UP_SECONDS)
        is_good = self.errors <= MAX_ERRORS and whole < P99_FLOOR_MS
        if os.environ.get("LOAD_STRICT"):
            is_good = is_good and steady < P99_AIM_MS
        text = (
            f"{len(self.all)} posts, {self.errors} errors; p99 {whole:.0f} ms (floor "
            f"{P99_FLOOR_MS}), after {WARM_UP_SECONDS} s {steady:.0f} ms (aim {P99_AIM_MS})"
        )
        return is_good, text


_times = Times()


def _begin(**_: Any) -> None:
    _times.started = time.monotonic()


def _note(response_time: float, exception: Exception | None, **_: Any) -> None:
    _times.add(response_time, failed=exception is not None)


def _judge(environment: Any, **_: Any) -> None:
    is_good, text = _times.verdict()
    print(text)
    environment.process_exit_code = 0 if is_good else 1


hooks: Any = events  # locust's own types end here
hooks.test_start.add_listener(_begin)
hooks.request.add_listener(_note)
hooks.quitting.add_listener(_judge)
