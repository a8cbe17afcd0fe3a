"""One job may make thousands of files: they are listed in pages, and none costs a second run."""

from __future__ import annotations

from typing import Any

import pytest

from comfyline.contract.limits import MAX_ARTIFACTS_PER_PAGE, MAX_RESPONSE_BYTES
from tests.support.whole_service import WholeService

# The tests of this module share the service and its event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_job_may_make_thousands_of_files(service: WholeService, is_long: bool) -> None:
    count = 10_000 if is_long else 1_000
    node = {"class_type": "CaseManyFiles", "inputs": {"count": count, "filename_prefix": "a"}}
    before = await service.executed()
    view = await service.run({"workflow": {"1": node}})
    assert (view["status"], view["attempt"]) == ("succeeded", 1), view["error"]
    assert await service.executed() == before + 1
    assert view["result"]["artifacts_total"] == count
    assert len(view["result"]["artifacts"]) == MAX_ARTIFACTS_PER_PAGE
    listed = await every_artifact(service, view)
    made = {f"a_{number:05}.txt": str(number - 1) for number in range(1, count + 1)}
    assert [artifact["name"] for artifact in listed] == list(made)
    assert [service.read(artifact).decode() for artifact in listed] == list(made.values())
    assert service.left_behind() == []


async def every_artifact(service: WholeService, view: dict[str, Any]) -> list[dict[str, Any]]:
    """The artifacts that the job shows, and those of all further pages."""
    found: list[dict[str, Any]] = view["result"]["artifacts"]
    cursor = view["result"]["next_cursor"]
    while cursor is not None:
        reply = await service.call(
            "GET", f"/api/v1/jobs/{view['job_id']}/artifacts?cursor={cursor}"
        )
        assert reply.status == 200, reply.text
        assert len(reply.text.encode()) <= MAX_RESPONSE_BYTES
        found += reply.json["artifacts"]
        cursor = reply.json["next_cursor"]
    return found
