"""Reads the problem in the response to a refused request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from comfyline.contract.v1.problem import Problem

MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}


def problem(answer: Mapping[str, Any]) -> Problem:
    """The problem in the response. Its headers, status and members are checked too."""
    body = json.loads(answer["body"])
    assert answer["headers"]["content-type"] == "application/problem+json"
    assert body["status"] == answer["statusCode"]
    assert body["request_id"] == answer["headers"]["x-request-id"]
    assert body["type"] == f"urn:comfyline:problem:{body['code']}"
    assert set(body) - {"errors"} == MEMBERS
    return Problem.model_validate(body)
