"""Smoke runs for the functions of Comfy API v2. Each needs every permission of its role."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from comfyline.api.comfy_v2.commands import submission
from comfyline.contract.ids import derived_job_id
from comfyline.service.intake.admit import slot_of
from functions._wiring import DEPTH_LIFETIME
from tests.e2e.account import now
from tests.e2e.caller import ONE_JOB, Caller, assert_fetched
from tests.e2e.smokes_http import LOADING, limited, sent_low, uploaded
from tests.support.builders import canceled
from tests.support.eventually import eventually_now

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
LOW = {"X-Comfyline-Priority": "low"}


def submit_comfy_job(caller: Caller) -> None:
    """Use every permission that accepting a job and answering the request may need."""
    before = sent_low(caller)
    made = caller.comfy("POST", "/jobs", json={"workflow": GRAPH}, headers=LOW)
    assert made.status_code == 201
    path = f"/jobs/{made.json()['id']}"
    caller.eventually(
        lambda: (
            sent_low(caller) > before or caller.comfy("GET", path).json()["status"] == "succeeded"
        ),
    )
    assert_positioned(caller)
    assert_limited(caller)
    for upload_id, status in ((uploaded(caller), 201), ("upl_" + "0" * 26, 422)):
        load = {"class_type": "LoadImage", "inputs": {"image": f"upload:{upload_id}"}}
        graph = {**LOADING, "1": load}
        answer = caller.comfy("POST", "/jobs", json={"workflow": graph}, headers=LOW)
        assert answer.status_code == status, answer.text
    assert_overdue_is_expired(caller)
    assert_output_is_an_input(caller)


def assert_output_is_an_input(caller: Caller) -> None:
    handle = {"__type": "core/ASSET", "info": {"id": f"{caller.ended().id}.0"}}
    graph = {**LOADING, "1": {"class_type": "LoadImage", "inputs": {"image": handle}}}
    made = caller.comfy("POST", "/jobs", json={"workflow": graph}, headers=LOW)
    assert made.status_code == 201, made.text


def assert_positioned(caller: Caller) -> None:
    """The function may answer with no depth only if it cannot read one."""
    made = caller.comfy("POST", "/jobs", json={"workflow": GRAPH}, headers=LOW)
    assert made.json()["queue_position"] >= 1


def assert_limited(caller: Caller) -> None:
    """A post is refused while another job holds the only slot, and accepted after its end."""
    capped = limited(caller)
    old = caller.account.seeded(capped.owner)
    caller.account.owners.take_slot(capped.owner, slot_of(old), ONE_JOB, old.queued_at)
    assert capped.comfy("POST", "/jobs", json={"workflow": GRAPH}).status_code == 429
    caller.account.jobs.save(old, canceled(old, now=now()))
    assert capped.comfy("POST", "/jobs", json={"workflow": GRAPH}).status_code == 201


def assert_overdue_is_expired(caller: Caller) -> None:
    """A used key is refused with its job, which has waited for too long and expires now."""
    key = secrets.token_hex(8)
    asked = {"workflow": GRAPH}
    job = caller.overdue(id=derived_job_id(caller.owner, key), fingerprint=fingerprint_of(asked))
    again = caller.comfy("POST", "/jobs", json=asked, headers={"Idempotency-Key": key})
    assert again.status_code == 422, again.text
    assert again.json()["error"]["details"] == {"job_id": job.id}


def fingerprint_of(asked: Any) -> str:
    return submission(asked).fingerprint


def read_comfy_jobs(caller: Caller) -> None:
    overdue = caller.overdue()
    (listed,) = caller.comfy("GET", "/jobs").json()["jobs"]
    assert (listed["id"], listed["status"]) == (overdue.id, "expired")
    assert caller.comfy("GET", f"/jobs/{overdue.id}/workflow").json()["format"] == "api"
    # Until then, the function may answer with a depth that it has read before.
    reads_again = now() + DEPTH_LIFETIME
    eventually_now(lambda: now() > reads_again)
    waiting = caller.comfy("GET", f"/jobs/{caller.account.seeded(caller.owner).id}")
    assert waiting.json()["queue_position"] >= 1
    (output,) = caller.comfy("GET", f"/jobs/{caller.ended().id}").json()["outputs"]
    assert_fetched(output["url"])


def follow_comfy_job(caller: Caller) -> None:
    ended = caller.comfy("GET", f"/jobs/{caller.ended().id}/events")
    (output,) = re.findall("event: output\ndata: (.*)", ended.text)
    assert_fetched(json.loads(output)["url"])
    overdue = caller.comfy("GET", f"/jobs/{caller.overdue().id}/events")
    assert '"expired"' in overdue.text
    reads_again = now() + DEPTH_LIFETIME
    eventually_now(lambda: now() > reads_again)
    waiting = caller.comfy("GET", f"/jobs/{caller.account.seeded(caller.owner).id}/events")
    assert re.search(r'"queue_position": [1-9]', waiting.text), waiting.text


def serve_comfy_assets(caller: Caller) -> None:
    body = {"content_type": "text/plain", "file_path": "a.txt"}
    for status in (201, 200):
        sent = caller.comfy("POST", "/assets", data=body, files={"file": ("a.txt", b"made")})
        assert sent.status_code == status, sent.text
    asset = sent.json()
    assert_fetched(asset["url"])
    assert caller.comfy("HEAD", f"/assets/by-hash/{asset['hash']}").status_code == 200
    again = {"hash": asset["hash"], "file_path": "b.txt"}
    assert caller.comfy("POST", "/assets/from-hash", json=again).status_code == 201
    output = f"{caller.ended().id}.0"
    content = caller.comfy("GET", f"/assets/{output}/content")
    assert_fetched(content.headers["location"])
    assert caller.comfy("GET", f"/assets/{caller.overdue().id}.0").status_code == 404
    assert caller.comfy("DELETE", f"/assets/{asset['id']}").status_code == 204
