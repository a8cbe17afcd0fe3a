"""Smoke runs for the functions of operators. Each needs every permission of its role."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfyline.service.jobs.job import JobError
from functions._admin import QUEUES_LIFETIME
from tests.e2e.account import now
from tests.e2e.caller import COUNTED, Caller
from tests.support.builders import a_job, failed
from tests.support.eventually import eventually_now


def operator(caller: Caller) -> Caller:
    """The same owner, with a key for operators."""
    return replace(caller, key=caller.account.new_key(caller.owner, COUNTED, scope="admin"))


def read(caller: Caller, path: str) -> Any:
    answer = caller.call("GET", f"/admin/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def read_fleet(caller: Caller) -> None:
    """Look at workers, queues and jobs."""
    admin, job = operator(caller), caller.account.seeded(caller.owner)
    read(admin, "workers")
    # Until then, the function may answer with what it has read before.
    reads_again = now() + QUEUES_LIFETIME
    eventually_now(lambda: now() > reads_again)
    (pool,) = read(admin, "queues")["pools"]
    assert len(pool["lanes"]) == 3
    path, found = "jobs?limit=100", set[str]()
    while path:
        page = read(admin, path)
        found |= {each["job_id"] for each in page["jobs"]}
        path = f"jobs?limit=100&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert job.id in found


def manage_owners(caller: Caller) -> None:
    """Look at failures."""
    error = JobError(type="smoke", message="")
    caller.account.ledger.count([failed(a_job(owner=caller.owner), error, now=now())])
    assert "smoke" in {group["type"] for group in read(operator(caller), "errors?days=1")["groups"]}
