"""The load test: users who post jobs, with pauses. `make load` runs it against a local cloud.

    COMFYLINE_API_KEY=... locust -f bench/locustfile.py --headless --host <api url>

It fails if any post fails, or if p99 of the posts after the warm-up is above the limit. On a
machine with other work, LOAD_P99_MS sets another limit.
"""

from __future__ import annotations

import os
import statistics
import time
import uuid
from typing import Any

from locust import HttpUser, between, events, task

PAUSE_SECONDS = (1, 3)  # between the answer to a post and the next post of the same user
WARM_UP_SECONDS = 30
P99_LIMIT_MS = float(os.environ.get("LOAD_P99_MS", "1000"))  # after the warm-up

# A graph that takes the engine no time, because the test loads the service.
GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "load"}},
}


class Submitter(HttpUser):
    """Posts one job after the other, each with its own idempotency key."""

    wait_time = between(*PAUSE_SECONDS)

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
        text = (
            f"{len(self.all)} posts, {self.errors} errors; p99 {whole:.0f} ms, after "
            f"{WARM_UP_SECONDS} s {steady:.0f} ms (limit {P99_LIMIT_MS:.0f})"
        )
        return not self.errors and steady < P99_LIMIT_MS, text


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
