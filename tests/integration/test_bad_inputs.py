"""Every bad input is refused with a problem and stores nothing, as docs/bad-inputs.md lists.

`WRITE_DOCS=1 pytest tests/integration/test_bad_inputs.py` writes that table.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import boto3

from comfyline.contract.v1.openapi import OPERATIONS
from comfyline.contract.v1.problem import Problem
from tests.integration.bad_inputs import Bad, bad_inputs
from tests.support.gateway import Gateway, route_of

DOCS = Path(__file__).parents[2] / "docs" / "bad-inputs.md"
BEGIN, END = "<!-- bad inputs: begin -->", "<!-- bad inputs: end -->"
NOT_JSON = "The body is not JSON:"  # the rest is a message of Python and differs by version
ALL = list(bad_inputs())


def refusal(gateway: Gateway, bad: Bad) -> Problem:
    """The problem that answers the input."""
    reply = gateway(bad.method, bad.path, body=bad.body, headers=bad.headers)
    assert 400 <= reply.status < 500, f"{bad.name}: {reply.status} {reply.text[:300]}"
    assert reply.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(reply.text)
    assert problem.status == reply.status
    assert problem.request_id == reply.headers["x-request-id"]
    assert bool(problem.errors) == (problem.code == "invalid_request"), bad.name
    _check_documented(bad, problem)
    return problem


def _check_documented(bad: Bad, problem: Problem) -> None:
    route = route_of(bad.method, bad.path)
    if route is not None:
        method, path = route.split(" ")
        assert problem.status in OPERATIONS[method, path].statuses, bad.name


def row(bad: Bad, problem: Problem) -> str:
    first = problem.errors[0] if problem.errors else None
    place = ".".join(map(str, first.loc)) + ": " if first else ""
    if problem.detail.startswith(NOT_JSON):
        return f"| {bad.name} | {problem.status} | {problem.code} | {NOT_JSON} … |"
    said = f"{place}{first.msg if first else problem.detail}"
    short = said if len(said) <= 120 else said[:117] + "…"
    cells = (bad.name, problem.status, problem.code, short)
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def test_names_are_unique_and_many() -> None:
    assert [name for name, n in Counter(bad.name for bad in ALL).items() if n > 12] == []
    assert len(ALL) >= 150


def test_every_bad_input_is_refused_as_documented(gateway: Gateway) -> None:
    rows = [row(bad, refusal(gateway, bad)) for bad in ALL]
    assert boto3.client("dynamodb").scan(TableName="jobs")["Items"] == []
    table = "\n".join(["| Input | Status | Code | Answer |", "|---|---|---|---|", *rows])
    before, rest = DOCS.read_text().split(BEGIN)
    current, after = rest.split(END)
    if os.environ.get("WRITE_DOCS"):
        DOCS.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    else:
        assert current.strip().splitlines() == table.splitlines()
