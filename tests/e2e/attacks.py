"""What the tests of abuse do with two callers: attacks, and the victim's work meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any, TypeVar

import httpx

from tests.e2e.caller import Caller
from tests.support.eventually import eventually_now

T = TypeVar("T")

TINY = {"prompt": "tiny", "steps": 1, "width": 64, "height": 64, "reuse": False}
# So many steps that the job is still running when the test cancels it.
ENDLESS = {**TINY, "steps": 1000}
FILE = {"name": "a.png", "content_type": "image/png", "bytes": 100_000_000}


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


def in_one_minute(ask: Callable[[], T]) -> T:
    """What `ask` returns. It runs again if a minute ended meanwhile, as budgets begin anew then."""
    while True:
        minute = time.time() // 60
        found = ask()
        if time.time() // 60 == minute:
            return found


def refused_for(answer: httpx.Response) -> str | None:
    """The budget that a 429 names."""
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    budget: str | None = answer.json()["budget"]
    return budget


def naming(upload_id: str, references: int) -> dict[str, Any]:
    """A job whose workflow names the upload so often."""
    loads = {
        str(n): {"class_type": "LoadImage", "inputs": {"image": f"upload:{upload_id}"}}
        for n in range(references)
    }
    save = {"class_type": "SaveImage", "inputs": {"images": ["0", 0], "filename_prefix": "x"}}
    return {"workflow": {**loads, "save": save}}


@contextmanager
def canceled(caller: Caller, body: dict[str, Any], **headers: str) -> Iterator[str]:
    """A posted job, which is canceled and has ended after the block."""
    job_id = str(caller.call("POST", "/jobs", json=body, headers=headers).json()["job_id"])
    try:
        yield job_id
    finally:
        caller.call("DELETE", f"/jobs/{job_id}")
        eventually_now(lambda: is_ended(caller, job_id))


def is_ended(caller: Caller, job_id: str) -> bool:
    view = caller.call("GET", f"/jobs/{job_id}").json()
    return view["timestamps"]["finished_at"] is not None


def victims_times(victim: Caller, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"submit": [], "read": [], "wait": []}
    for _ in range(rounds):
        posted, seconds = timed(lambda: victim.call("POST", "/jobs", json=TINY))
        times["submit"].append(seconds)
        job_id = posted.json()["job_id"]
        read, seconds = timed(partial(victim.call, "GET", f"/jobs/{job_id}"))
        times["read"].append(seconds)
        waited, seconds = timed(lambda: victim.call("POST", "/generate", json=TINY))
        times["wait"].append(seconds)
        assert (posted.status_code, read.status_code, waited.status_code) == (202, 200, 200)
    return times


def flood(attacker: Caller, kind: int, over: Event) -> Counter[int]:
    requests = [
        ("GET", "/jobs?limit=100", None),
        ("POST", "/jobs", ENDLESS),
        ("POST", "/uploads", FILE),
    ]
    method, path, body = requests[kind]
    statuses = Counter[int]()
    while not over.is_set():
        answer = attacker.call(method, path, json=body)
        statuses[answer.status_code] += 1
        if answer.status_code == 202:
            attacker.call("DELETE", f"/jobs/{answer.json()['job_id']}")
    return statuses
