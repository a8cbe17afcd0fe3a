"""Requests of Comfy API v2 that the tests share, and how their answers are read.

Successful answers are parsed by the models of Comfy's own client, which are stricter than ours.
"""

from __future__ import annotations

from typing import Any

from comfy_low import models as sdk

from tests.support.gateway import Gateway, Reply

JOBS = "/api/v2/jobs"
EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
GRAPH = {"1": EMPTY, "2": SAVE}
KEY = {"Idempotency-Key": "once"}


def submitted(gateway: Gateway, body: Any = None, **options: Any) -> sdk.Job:
    """The new job."""
    reply = gateway("POST", JOBS, body or {"workflow": GRAPH}, **options)
    assert reply.status == 201, reply.text
    return sdk.Job.model_validate_json(reply.text)


def read(gateway: Gateway, job_id: str, **options: Any) -> sdk.Job:
    """The job as it is now."""
    reply = gateway("GET", f"{JOBS}/{job_id}", **options)
    assert reply.status == 200, reply.text
    return sdk.Job.model_validate_json(reply.text)


def refusal(reply: Reply) -> tuple[int, str]:
    """The status and the code of an error envelope."""
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-comfy-request-id"] == reply.headers["x-request-id"]
    assert reply.json.keys() == {"error"}
    error = reply.json["error"]
    assert error.keys() == {"code", "message", "details"}
    assert error["message"]
    return reply.status, error["code"]
