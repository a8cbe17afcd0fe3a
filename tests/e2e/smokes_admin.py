"""Smoke runs for the functions of operators. Each needs every permission of its role."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from comfyline.service.access.sessions import Session
from comfyline.service.jobs.job import JobError
from functions._admin import QUEUES_LIFETIME
from tests.e2e.account import Account, now
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
    """Look at failures, owners and keys, change a key, and end a session."""
    error = JobError(type="smoke", message="")
    job = replace(failed(a_job(owner=caller.owner), error), finished_at=now())
    caller.account.ledger.count([job])
    admin = operator(caller)
    assert "smoke" in {group["type"] for group in read(admin, "errors?days=1")["groups"]}
    assert read(admin, "owners?limit=1")["owners"]
    assert read(admin, "keys?limit=1")["next_cursor"]
    key = caller.account.keys.of_owner(caller.owner)[0]
    limited = admin.call("PUT", f"/admin/keys/{key.id}/limits", json={"limits": {}})
    assert limited.status_code == 200, limited.text
    session = Session(
        sha256="0" * 64,
        owner=caller.owner,
        key_id=key.id,
        created_at=now(),
        expires_at=now() + timedelta(minutes=1),
    )
    caller.account.sessions.put(session)
    ended = admin.call("POST", "/admin/sessions/end", json={"owner": caller.owner})
    assert ended.json() == {"ended": 1, "more": False}


def serve_dead_letters(caller: Caller) -> None:
    """Look at a ticket of the queue, and replace it."""
    admin, account = operator(caller), caller.account
    sqs, url = account.emulator.client("sqs"), account.endpoints.outputs["DeadLetterQueueUrl"]
    job = caller.account.seeded(caller.owner)
    with unattended(account):
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"schema": 1, "job_id": job.id}))
        letters = read(admin, "dead-letters")["dead_letters"]
        assert [each["status"] for each in letters if each["job_id"] == job.id] == ["queued"]
        answer = admin.call("POST", "/admin/dead-letters/redrive")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["sent_again"], answer.json()["out_of_reach"]) == (1, 0)


@contextmanager
def unattended(account: Account) -> Iterator[None]:
    """In the block no function handles the dead-letter queue, as if the function failed."""
    functions = account.emulator.client("lambda")
    name = account.physical_id("api", "RedriveTicketsFunction")
    (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def serve_switches(caller: Caller) -> None:
    """Set the switches to what they are."""
    admin = operator(caller)
    seen = read(admin, "switches")
    body = {name: seen[name] for name in ("jobs_enabled", "sockets_enabled", "version")}
    answer = admin.call("PUT", "/admin/switches", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["version"] > seen["version"]
