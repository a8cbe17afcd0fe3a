"""Real workflows, made as small as possible, through the API, a worker and the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

import pytest

from tests.integration.workflows.what_comes_back import BODIES, EXPECTED, Back, Refused
from tests.support.whole_service import WholeService

# The tests of this module share the service and its event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXT = "text"


def body_of(case: str) -> str:
    return (BODIES / f"{case}.json").read_text()


async def test_every_body_has_an_expectation() -> None:
    assert {path.stem for path in BODIES.glob("*.json")} == set(EXPECTED)


def cases(kind: type) -> list[str]:
    return [case for case, expected in EXPECTED.items() if isinstance(expected, kind)]


@pytest.mark.parametrize("case", cases(Refused))
async def test_a_workflow_is_refused(service: WholeService, case: str) -> None:
    expected = EXPECTED[case]
    assert isinstance(expected, Refused)
    reply = await service.call("POST", "/api/v1/jobs", body_of(case))
    assert reply.status == expected.status, reply.text
    assert [word for word in expected.words if word not in reply.text] == []


@pytest.mark.parametrize("case", cases(Back))
async def test_everything_that_a_workflow_makes_comes_back(
    service: WholeService, case: str
) -> None:
    expected = EXPECTED[case]
    assert isinstance(expected, Back)
    before = await service.executed()
    view = await service.run(body_of(case))
    assert (view["status"], _error(view)) == (expected.status, expected.error), view
    result = view["result"] or {"artifacts": []}
    _assert_files(result["artifacts"], expected)
    assert sorted(_texts(service, result["artifacts"])) == sorted(expected.texts)
    assert _without_long(result.get("values", {})) == expected.values
    assert [warning["node_id"] for warning in result.get("warnings", [])] == list(expected.warns_of)
    assert result.get("partial", False) == expected.partial
    assert bool(result.get("empty_reason")) == expected.empty
    assert service.left_behind() == []
    if expected.executions is not None:
        assert await service.executed() - before == expected.executions


def _error(view: Mapping[str, Any]) -> tuple[str, str | None] | None:
    error = view["error"]
    return None if error is None else (error["type"], error["node_id"])


def _assert_files(artifacts: list[dict[str, Any]], expected: Back) -> None:
    files = [artifact for artifact in artifacts if artifact["kind"] != TEXT]
    for pattern, kind in expected.files.items():
        assert kind in {each["kind"] for each in files if fnmatch(each["name"], pattern)}, files
    assert all(any(fnmatch(each["name"], pattern) for pattern in expected.files) for each in files)
    assert {each["temporary"] for each in files} <= {expected.temporary}
    if expected.count is None:
        assert len(files) == len(expected.files)


def _texts(service: WholeService, artifacts: list[dict[str, Any]]) -> list[str]:
    return [service.read(each).decode() for each in artifacts if each["kind"] == TEXT]


def _without_long(values: Any) -> Any:
    """The values with `...` in the place of long texts."""
    if isinstance(values, dict):
        return {name: _without_long(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_without_long(value) for value in values]
    return ... if isinstance(values, str) and len(values) > 100 else values
