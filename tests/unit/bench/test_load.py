"""The two load tests promise the same."""

from __future__ import annotations

import ast
import re

import pytest

from localcloud.state import ROOT

SHARED = (
    "USERS",
    "RUN_SECONDS",
    "PACE_SECONDS",
    "WARM_UP_SECONDS",
    "P99_FLOOR_MS",
    "P99_AIM_MS",
    "MAX_ERRORS",
)


def in_locust() -> dict[str, int]:
    """Read, not imported: locust patches the process that imports it."""
    module = ast.parse((ROOT / "bench" / "locustfile.py").read_text())
    return {
        node.targets[0].id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, int)
    }


def in_k6() -> dict[str, int]:
    text = (ROOT / "bench" / "load.k6.js").read_text()
    return {name: int(value) for name, value in re.findall(r"^const (\w+) = (\d+);", text, re.M)}


@pytest.mark.parametrize("name", SHARED)
def test_the_numbers_are_the_same(name: str) -> None:
    assert in_locust()[name] == in_k6()[name]


def test_k6_uses_each_of_them() -> None:
    text = (ROOT / "bench" / "load.k6.js").read_text()
    assert [name for name in SHARED if len(re.findall(rf"\b{name}\b", text)) < 2] == []
