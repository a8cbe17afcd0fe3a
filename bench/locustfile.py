"""The load test: each user posts a job a second. `make load` runs it against a local cloud.

    COMFYLINE_API_KEY=... locust -f bench/locustfile.py --headless --host <api url>

It fails if any post fails, or if p99 of all posts is above the limit. It prints p99 after the
warm-up beside the goal, which is a condition too with LOAD_STRICT=1.
"""

from __future__ import annotations

import os
import statistics
import time
import uuid
from typing import Any

from locust import HttpUser, constant_pacing, events, task

PACE_SECONDS = 1
WARM_UP_SECONDS = 60
P99_LIMIT_MS = 5000
P99_GOAL_MS = 500  # after the warm-up

# A graph that takes the engine no time, because the test loads the service.
GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "load"}},
}


class Submitter(HttpUser):
    """Posts a job a second, each with its own idempotency key. A slow answer delays no post."""

    wait_time = constant_pacing(PACE_SECONDS)

    def on_start(self) -> None:
        """Set up the user's own HTTP client."""
        self.client.headers["Authorization"] = f"Bearer {os.environ['COMFYLINE_API_KEY']}"
        self.client.trust_env = False

    @task
    def submit(self) -> None:
        """Post one job. Any answer except 202 is an error."""
        key = {"Idempotency-Key": uuid.uuid4().hex}
        post = self.client.post(
            "/api/v1/jobs", json={"workflow": GRAPH}, headers=key, catch_response=True
        )
        with post as answer:
            if answer.status_code != 202:
                answer.failure(f"{answer.status_code}: {answer.text[:200]}")


class Times:
    """The response times, each with its second of the run."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.all: list[tuple[float, float]] = []
        self.errors = 0

    def add(self, milliseconds: float, *, failed: bool) -> None:
        """Add one answer."""
        self.all.append((time.monotonic() - self.started, milliseconds))
        self.errors += failed

    def p99(self, after_seconds: float) -> float:
        """p99 of the answers after that second; infinity if there are none."""
        times = [ms for second, ms in self.all if second >= after_seconds]
        return statistics.quantiles(times, n=100)[98] if len(times) > 1 else float("inf")

    def verdict(self) -> tuple[bool, str]:
        """Whether the run passed, and a line with the figures."""
        whole, steady = self.p99(0), self.p99(WARM_UP_SECONDS)
        is_good = not self.errors and whole < P99_LIMIT_MS
        if os.environ.get("LOAD_STRICT"):
            is_good = is_good and steady < P99_GOAL_MS
        text = (
            f"{len(self.all)} posts, {self.errors} errors; p99 {whole:.0f} ms (limit "
            f"{P99_LIMIT_MS}), after {WARM_UP_SECONDS} s {steady:.0f} ms (goal {P99_GOAL_MS})"
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


hooks: Any = events  # locust's types do not cover these attributes
hooks.test_start.add_listener(_begin)
hooks.request.add_listener(_note)
hooks.quitting.add_listener(_judge)
