"""What callers send reaches ComfyUI as they sent it, without what ComfyUI cannot execute."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.jobs.job import TERMINAL, JobRecord, Status
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from functions._request import Request
from tests.support import web
from tests.support.worker_world import WorkerWorld
from tests.unit.graphs.graphs import EMPTY, GOOD, node


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorkerWorld]:
    options = Options(data_dir=tmp_path, port=0, step_ms=2)
    async with Simulator(options) as sim, web.AsyncClient(base_url=sim.url) as http:
        yield WorkerWorld(sim.url, tmp_path, http)


async def run(world: WorkerWorld, sent: str | dict[str, Any]) -> JobRecord:
    """The ended job of a body, which is posted as the API reads it."""
    body = sent if isinstance(sent, str) else json.dumps(sent)
    async with world.working():
        job = world.submit(Request({"body": body}).json()).job
        await world.until(job, *TERMINAL)
    record = world.store.read(job.id)
    assert record is not None
    return record


def picture(world: WorkerWorld, record: JobRecord) -> Image.Image:
    """The only file of the job."""
    assert record.job.status is Status.SUCCEEDED
    (artifact,) = record.result.artifacts
    return Image.open(BytesIO(world.artifacts.files[artifact.key].body))


@pytest.mark.parametrize(
    ("branch", "left_out"),
    [
        ({"3": node("ImageInvert", image=["99", 0])}, ["3"]),
        ({"3": node("ImageInvert", image=["3", 0])}, ["3"]),
        (
            {"3": node("ImageInvert", image=["99", 0]), "4": node("ImageInvert", image=["3", 0])},
            ["3", "4"],
        ),
    ],
)
async def test_a_broken_branch_is_left_out_and_told(
    world: WorkerWorld, branch: dict[str, Any], left_out: list[str]
) -> None:
    record = await run(world, {"workflow": GOOD | branch})
    assert picture(world, record).size == (64, 64)
    assert [warning.node_id for warning in record.result.warnings] == left_out
    assert {warning.type for warning in record.result.warnings} == {"node_left_out"}
    assert world.store.graph(record.job) == GOOD | branch  # as it was sent


async def test_a_link_that_would_stop_comfyui_is_left_out_and_told(world: WorkerWorld) -> None:
    odd = {**EMPTY, "inputs": {**EMPTY["inputs"], "gone": ["99", 0]}}
    record = await run(
        world, {"workflow": GOOD | {"3": odd, "4": node("PreviewImage", images=["3", 0])}}
    )
    assert picture(world, record).size == (64, 64)
    assert [(w.type, w.node_id) for w in record.result.warnings] == [("input_left_out", "3")]


async def test_what_only_python_reads_is_accepted_where_nothing_executes_it(
    world: WorkerWorld,
) -> None:
    graph = json.dumps(GOOD | {"3": node("PrimitiveString", value="cut \ud83d")})
    cached = graph.replace(
        '"class_type": "EmptyImage"', '"is_changed": [NaN], "class_type": "EmptyImage"'
    )
    record = await run(world, '{"workflow": %s}' % cached)  # noqa: UP031 - braces of JSON
    assert picture(world, record).size == (64, 64)
    assert record.result.warnings == ()


async def test_what_goes_into_pictures_does(world: WorkerWorld) -> None:
    editor = {"nodes": [{"id": 1}], "links": [], "title": "cut \ud83d"}
    sent = {"workflow": GOOD, "extra_data": {"extra_pnginfo": {"workflow": editor, "a": [1]}}}
    found = picture(world, await run(world, sent))
    assert json.loads(found.info["workflow"]) == editor
    assert json.loads(found.info["a"]) == [1]


async def test_without_it_pictures_have_the_graph_only(world: WorkerWorld) -> None:
    found = picture(world, await run(world, {"workflow": GOOD}))
    assert found.info.keys() == {"prompt"}


async def test_a_node_that_needs_it_gets_it(world: WorkerWorld) -> None:
    sent = {
        "prompt": {"1": node("CaseNeedsExtraPnginfo")},
        "client_id": "x",
        "extra_data": {"extra_pnginfo": {"workflow": {"nodes": [1, 2, 3]}}},
    }
    record = await run(world, sent)
    assert record.job.status is Status.SUCCEEDED
    (artifact,) = record.result.artifacts
    assert world.artifacts.files[artifact.key].body == b"3"


async def test_the_worker_refuses_a_class_that_its_own_lock_does_not_allow(
    world: WorkerWorld,
) -> None:
    """The API may have accepted the job with another lock."""
    world.catalogue = Catalogue(node_classes=frozenset({"EmptyImage"}))
    record = await run(world, {"workflow": {**GOOD, "3": node("PreviewAny", source="x")}})
    error = record.job.error
    assert error is not None
    assert (error.type, error.node_id, error.node_type) == ("node_not_allowed", "3", "PreviewAny")
    assert await world.executed() == 0
    allowed = await run(world, {"prompt": "x", "model": "sd15-sim.safetensors", "steps": 1})
    assert allowed.job.status is Status.SUCCEEDED
