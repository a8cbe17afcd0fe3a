"""Requests that the tests of the HTTP API share, and how their answers are read."""

from __future__ import annotations

from typing import Any

from comfyline.contract.v1 import responses
from comfyline.contract.v1.problem import Problem
from tests.support.gateway import Gateway, Reply

PICTURE = {"prompt": "a red fox"}
KEY = {"Idempotency-Key": "once"}
EMPTY_IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
GRAPH = {"1": EMPTY_IMAGE, "2": SAVE}
LOADING = {"1": {"class_type": "LoadImage", "inputs": {"image": "none"}}, "2": SAVE}


def code(reply: Reply) -> tuple[int, str]:
    """The status and the code of a problem."""
    problem = Problem.model_validate_json(reply.text)
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem.status == reply.status
    return reply.status, problem.code


def submit(gateway: Gateway, body: Any = PICTURE, **headers: str) -> str:
    """Post a job; its id."""
    reply = gateway("POST", "/api/v1/jobs", body, headers=headers)
    assert reply.status == 202, reply.text
    return str(reply.json["job_id"])


def view(gateway: Gateway, job_id: str) -> responses.JobView:
    """The job as its owner reads it."""
    reply = gateway("GET", f"/api/v1/jobs/{job_id}")
    assert reply.status == 200, reply.text
    return responses.JobView.model_validate_json(reply.text)
