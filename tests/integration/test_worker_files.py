"""Every file of a graph comes back with its job, and nothing of it stays in the engine."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfyline.contract.ids import OwnerId, UploadId
from comfyline.service.files.uploads import StoredUpload, upload_key
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.job import TERMINAL, Job, JobRecord, Status
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker.comfy.marks import mark
from gpu_worker.workspace import HOLDING, OWNED
from tests.support import web
from tests.support.builders import now
from tests.support.eventually import WITHIN, eventually
from tests.support.worker_world import EMPTY_IMAGE, WorkerWorld, a_graph

Graph = dict[str, Any]
UPLOAD = UploadId("upl_" + "0" * 26)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorkerWorld]:
    options = Options(data_dir=tmp_path, port=0, step_ms=2)
    async with Simulator(options) as sim, web.AsyncClient(base_url=sim.url) as http:
        yield WorkerWorld(sim.url, tmp_path, http)


def node(class_type: str, **inputs: Any) -> Graph:
    return {"class_type": class_type, "inputs": inputs}


def fixed(text: str, *, reported: bool = True) -> Graph:
    """A graph that writes a text file of a fixed name, and replaces an existing one."""
    return {"1": node("CaseFixedName", name="fixed.txt", text=text, reported=reported)}


async def ended(world: WorkerWorld, *jobs: Job) -> list[JobRecord]:
    records = []
    for job in jobs:  # each has 10 s from the end of the one before
        await world.until(job, *TERMINAL)
        record = world.store.read(job.id)
        assert record is not None
        records.append(record)
    return records


async def run(world: WorkerWorld, graph: Mapping[str, Any], **fields: Any) -> JobRecord:
    async with world.working():
        (record,) = await ended(world, world.queued(graph, **fields))
    return record


def bodies(world: WorkerWorld, record: JobRecord) -> list[bytes]:
    return [world.artifacts.files[artifact.key].body for artifact in record.artifacts]


def left(world: WorkerWorld) -> list[str]:
    """Every file that is in the engine's folders or held by the worker."""
    folders = (world.base / name for name in (*OWNED, HOLDING))
    return [str(path) for folder in folders for path in folder.rglob("*") if not path.is_dir()]


async def test_a_file_that_no_node_reports_comes_back(world: WorkerWorld) -> None:
    record = await run(world, {"1": node("CaseUnreportedFile", filename_prefix="3D/Hy3D")})
    (artifact,) = record.artifacts
    assert (artifact.name, artifact.kind, artifact.node) == ("Hy3D_00001_.glb", "model", "")
    assert bodies(world, record) == [b"glTF"]
    assert left(world) == []


async def test_an_unreported_file_is_written_again_by_a_cached_graph(world: WorkerWorld) -> None:
    graph = {"1": node("CaseUnreportedFile", filename_prefix="3D/Hy3D")}
    async with world.working():
        for _ in range(3):
            (record,) = await ended(world, world.queued(graph))
            assert bodies(world, record) == [b"glTF"]


async def test_names_are_those_that_the_node_chose(world: WorkerWorld) -> None:
    graph = {**EMPTY_IMAGE, "2": node("SaveImage", images=["1", 0], filename_prefix="a/日本語")}
    record = await run(world, graph)
    assert [artifact.name for artifact in record.artifacts] == ["日本語_00001_.png"]
    embedded = Image.open(BytesIO(bodies(world, record)[0])).info["prompt"]
    assert record.job.id not in embedded
    assert '"a/' in embedded


async def test_a_node_that_makes_no_folder_of_its_prefix_gets_it_saved(world: WorkerWorld) -> None:
    saver = node(
        "Image Save", images=["1", 0], output_path="was", filename_prefix="p", show_previews="true"
    )
    record = await run(world, {"1": EMPTY_IMAGE["1"], "2": saver})
    assert [artifact.name for artifact in record.artifacts] == ["p_0001.png"]
    silent = {**saver, "inputs": {**saver["inputs"], "show_previews": "false"}}
    record = await run(world, {"1": EMPTY_IMAGE["1"], "2": silent})
    assert [artifact.name for artifact in record.artifacts] == ["p_0001.png"]


async def test_previews_are_the_result_only_where_there_is_nothing_else(
    world: WorkerWorld,
) -> None:
    preview = {"1": EMPTY_IMAGE["1"], "3": node("PreviewImage", images=["1", 0])}
    async with world.working():
        alone, beside = await ended(
            world, world.queued(preview), world.queued({**preview, **EMPTY_IMAGE})
        )
    assert [(a.temporary, a.node) for a in alone.artifacts] == [(True, "3")]
    assert [(a.temporary, a.node) for a in beside.artifacts] == [(False, "2")]
    assert left(world) == []


async def test_texts_and_values_come_back_whole(world: WorkerWorld) -> None:
    graph = {"1": node("CasePlainText", text="512 x 512"), "2": node("CaseOtherKeys")}
    record = await run(world, graph)
    assert bodies(world, record) == [b"512 x 512", b"seven"]
    assert record.result.values == {
        "2": {"tags": ["1girl, solo"], "value": [42], "text": [7], "string": ["a long answer"]}
    }


@pytest.mark.parametrize(
    "reported",
    [
        {"filename": "gone.png"},
        {"filename": "../x.png"},
        {"filename": "/etc/hostname"},
        {"filename": "a", "subfolder": "../.."},
        {"filename": "nothing.png", "type": "input"},
        {"filename": "x.png", "type": "elsewhere"},
        {"filename": ""},
    ],
)
async def test_a_reported_file_that_is_not_there_is_a_warning(
    world: WorkerWorld, reported: dict[str, str]
) -> None:
    graph = {
        **EMPTY_IMAGE,
        "5": node("CaseReport", **{"subfolder": "", "type": "output", **reported}),
    }
    record = await run(world, graph)
    assert (record.job.status, record.job.attempt) == (Status.SUCCEEDED, 1)
    assert [artifact.node for artifact in record.artifacts] == ["2"]
    (warning,) = record.result.warnings
    assert (warning.node_id, warning.node_type) == ("5", "CaseReport")
    assert "/etc" not in warning.message


async def test_a_link_is_not_followed(world: WorkerWorld) -> None:
    graph = {**EMPTY_IMAGE, "5": node("CaseLink", name="link.txt", target="/etc/hostname")}
    record = await run(world, graph)
    assert [artifact.node for artifact in record.artifacts] == ["2"]
    assert [warning.node_id for warning in record.result.warnings] == ["5"]
    assert left(world) == []


async def test_files_of_a_failed_job_are_kept_and_none_stays(world: WorkerWorld) -> None:
    graph = {
        **EMPTY_IMAGE,
        "3": node("CaseUnreportedFile", filename_prefix="made"),
        "9": node("CaseRaise", kind="OSError", message="at /work/output/x.png"),
    }
    record = await run(world, graph)
    assert record.job.status is Status.FAILED
    assert record.job.error is not None
    assert "/work" not in record.job.error.message
    assert left(world) == []


@pytest.mark.parametrize("owners", [("alice", "alice"), ("alice", "bob")])
@pytest.mark.parametrize("reported", [True, False])
async def test_jobs_that_write_the_same_name_get_their_own_bytes(
    world: WorkerWorld, owners: tuple[str, str], reported: bool, is_long: bool
) -> None:
    count = 400 if is_long else 40
    async with world.working():
        jobs = [
            world.queued(fixed(str(number), reported=reported), owner=OwnerId(owners[number % 2]))
            for number in range(count)
        ]
        records = await ended(world, *jobs)
    assert [bodies(world, record) for record in records] == [
        [str(number).encode()] for number in range(count)
    ]
    assert left(world) == []


@pytest.mark.parametrize("owners", [("alice", "alice"), ("alice", "bob")])
async def test_numbered_files_of_overlapping_jobs_are_told_apart(
    world: WorkerWorld, owners: tuple[str, str]
) -> None:
    def picture(number: int) -> Graph:
        return {
            "1": node("EmptyImage", width=8, height=8, batch_size=1, color=number),
            "2": EMPTY_IMAGE["2"],
        }

    async with world.working():
        jobs = [
            world.queued(picture(number), owner=OwnerId(owners[number % 2])) for number in range(40)
        ]
        records = await ended(world, *jobs)
    for number, record in enumerate(records):
        (body,) = bodies(world, record)
        assert Image.open(BytesIO(body)).getpixel((0, 0)) == (0, 0, number)
    assert left(world) == []


async def test_no_job_sees_files_of_another_one(world: WorkerWorld) -> None:
    first = {"1": node("CaseFixedName", name="secret.txt", text="secret", reported=False)}
    looks = {
        "1": node("CaseReadFile", name="secret.txt [output]"),
        "2": node("CaseListFolder", folder="output"),
        "3": node("CaseListFolder", folder="temp"),
        "4": node("CaseListFolder", folder="input"),
    }
    async with world.working():
        (_, second) = await ended(
            world,
            world.queued(first, owner=OwnerId("alice")),
            world.queued(looks, owner=OwnerId("bob")),
        )
    assert bodies(world, second) == [b"no such file", b"", b"", b""]


DATASET = {
    "1": node("CaseSaveDataset", folder_name="set", text="secret"),
    "2": node("CaseLoadFromFolder", folder="datasets/set"),
    "3": node("PreviewAny", source=["2", 0]),
}


async def test_a_data_set_comes_back_with_its_job_and_does_not_stay(world: WorkerWorld) -> None:
    record = await run(world, {"1": DATASET["1"]})
    assert [artifact.name for artifact in record.artifacts] == ["shard_0000.pkl"]
    assert bodies(world, record) == [b"secret"]
    assert left(world) == []


async def test_what_a_node_has_read_from_a_folder_is_no_answer_for_another_job(
    world: WorkerWorld,
) -> None:
    load = {"2": DATASET["2"], "3": DATASET["3"]}
    async with world.working():
        first, second = await ended(
            world,
            world.queued(DATASET, owner=OwnerId("alice")),
            world.queued(load, owner=OwnerId("bob")),
        )
    assert b"secret" in bodies(world, first)
    assert bodies(world, second) == [b""]


async def test_jobs_with_linked_prefixes_and_previews_leave_no_file(
    world: WorkerWorld, is_long: bool
) -> None:
    graph = {
        "1": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
        "2": node("PreviewImage", images=["1", 0]),
        "3": node("PrimitiveString", value="cards/linked"),
        "4": node("SaveImage", images=["1", 0], filename_prefix=["3", 0]),
    }
    async with world.working():
        records = await ended(world, *[world.queued(graph) for _ in range(1000 if is_long else 30)])
    assert all(len(record.artifacts) == 1 for record in records)
    assert left(world) == []


def stored_upload(world: WorkerWorld, owner: OwnerId) -> None:
    body = BytesIO()
    Image.new("RGB", (24, 16), "red").save(body, "PNG")
    key = upload_key(owner, UPLOAD)
    world.uploads.files[key] = StoredUpload("image/png", len(body.getvalue()), now())
    world.uploads.bodies[key] = body.getvalue()


async def test_overlapping_jobs_may_share_an_upload_and_it_does_not_stay(
    world: WorkerWorld,
) -> None:
    owner = OwnerId("alice")
    stored_upload(world, owner)
    graph = {
        "1": node("LoadImage", image=f"upload:{UPLOAD}"),
        "2": node("SaveImage", images=["1", 0], filename_prefix="copy"),
    }
    async with world.working():
        records = await ended(world, *[world.queued(graph, owner=owner) for _ in range(12)])
    assert [record.job.status for record in records] == [Status.SUCCEEDED] * 12
    for record in records:
        (body,) = bodies(world, record)
        picture = Image.open(BytesIO(body))
        assert picture.size == (24, 16)
        assert f"{UPLOAD}.png" in picture.info["prompt"]
    assert left(world) == []


async def test_an_upload_that_is_no_picture_is_named_as_the_caller_names_it(
    world: WorkerWorld,
) -> None:
    owner = OwnerId("alice")
    key = upload_key(owner, UPLOAD)
    world.uploads.files[key] = StoredUpload("image/png", 4, now())
    world.uploads.bodies[key] = b"text"
    graph = {
        "1": node("LoadImage", image=f"upload:{UPLOAD}"),
        "2": node("SaveImage", images=["1", 0], filename_prefix="copy"),
    }
    record = await run(world, graph, owner=owner)
    assert record.job.error is not None
    assert f"upload:{UPLOAD}" in record.job.error.message
    assert str(world.base) not in record.job.error.message


async def test_what_a_killed_worker_has_left_is_gone_before_the_first_prompt(
    world: WorkerWorld,
) -> None:
    await run(world, EMPTY_IMAGE)
    for kind in OWNED:
        (world.base / kind / "stale").mkdir()
        (world.base / kind / "stale" / "x.png").write_text("stale")
    (world.base / HOLDING / "stale").mkdir()
    (world.base / HOLDING / "stale" / "1").write_text("stale")
    record = await run(world, {"1": node("CaseListFolder", folder="output")})
    assert bodies(world, record) == [b""]
    assert left(world) == []


async def test_a_prompt_that_a_killed_worker_has_left_gives_no_file_to_the_next_job(
    world: WorkerWorld,
) -> None:
    earlier = str(uuid.uuid4())
    graph = {  # ComfyUI runs the nodes in this order, and ends a prompt only between two nodes
        **{f"{1 + n}": node("CaseSleep", seconds=0.2 + n / 100) for n in range(5)},
        "9": node("CaseFixedName", name="secret.txt", text="secret", reported=False),
    }
    body = {"prompt": graph, "prompt_id": earlier, "extra_data": dict(mark(earlier))}
    (await world.http.post("/prompt", json=body)).raise_for_status()
    while not await world.executed():
        await asyncio.sleep(0.01)
    record = await run(world, fixed("mine", reported=False), owner=OwnerId("bob"))
    assert bodies(world, record) == [b"mine"]
    assert left(world) == []


async def test_a_job_that_is_canceled_while_it_waits_for_another_owner_never_runs(
    world: WorkerWorld,
) -> None:
    await world.faults(step_ms=100)
    async with world.working():
        running = world.queued(a_graph(steps=600), owner=OwnerId("alice"))
        await world.until(running, Status.RUNNING)
        waiting = world.queued(EMPTY_IMAGE, owner=OwnerId("bob"))
        await eventually(lambda: world.row(waiting.id).lease is not None)
        cancel(waiting.id, waiting.owner, store=world.store, clock=now)
        await world.until(waiting, Status.CANCELED)
        assert world.row(running.id).status is Status.RUNNING
        assert (await world.http.get("/queue")).json()["queue_pending"] == []
    assert await world.executed() == 1


async def test_a_job_that_waits_for_another_owner_is_given_back_by_a_drain(
    world: WorkerWorld,
) -> None:
    await world.faults(step_ms=100)
    async with world.working() as drain:
        running = world.queued(a_graph(steps=600), owner=OwnerId("alice"))
        await world.until(running, Status.RUNNING)
        waiting = world.queued(EMPTY_IMAGE, owner=OwnerId("bob"))
        await eventually(lambda: world.row(waiting.id).lease is not None)
        drain.set()
        await eventually(lambda: world.row(waiting.id).interruptions == 1)
    assert world.row(waiting.id).status is Status.QUEUED


async def test_a_canceled_job_leaves_no_file(world: WorkerWorld) -> None:
    # A cancel is seen between two nodes.
    sleeping = {f"{2 + n}": node("CaseSleep", seconds=0.5 + n / 100) for n in range(6)}
    graph = {"1": node("CaseUnreportedFile", filename_prefix="made"), **sleeping}
    async with world.working():
        job = world.queued(graph)
        async with asyncio.timeout(WITHIN):
            while not list((world.base / "output").rglob("*.glb")):
                await asyncio.sleep(0.01)
        cancel(job.id, job.owner, store=world.store, clock=now)
        (record,) = await ended(world, job)
    assert record.job.status is Status.CANCELED
    assert left(world) == []


# --- an engine on another disk --------------------------------------------------------------------


@pytest.fixture
def elsewhere(world: WorkerWorld) -> WorkerWorld:
    world.shares_disk = False
    return world


async def test_reported_files_of_an_engine_elsewhere_are_fetched(elsewhere: WorkerWorld) -> None:
    graph = {
        **EMPTY_IMAGE,
        "3": node("CaseUnreportedFile", filename_prefix="made"),
        "5": node("CaseReport", filename="gone.png", subfolder="", type="output"),
    }
    record = await run(elsewhere, graph)
    assert [artifact.node for artifact in record.artifacts] == ["2"]
    assert [warning.node_id for warning in record.result.warnings] == ["5"]


async def test_previews_of_an_engine_elsewhere_are_fetched(elsewhere: WorkerWorld) -> None:
    graph = {"1": EMPTY_IMAGE["1"], "3": node("PreviewImage", images=["1", 0])}
    record = await run(elsewhere, graph)
    assert [artifact.temporary for artifact in record.artifacts] == [True]


async def test_jobs_of_an_engine_elsewhere_get_their_own_bytes(elsewhere: WorkerWorld) -> None:
    async with elsewhere.working():
        jobs = [elsewhere.queued(fixed(str(number))) for number in range(20)]
        records = await ended(elsewhere, *jobs)
    assert [bodies(elsewhere, record) for record in records] == [
        [str(number).encode()] for number in range(20)
    ]


async def test_an_engine_elsewhere_gets_uploads(elsewhere: WorkerWorld) -> None:
    stored_upload(elsewhere, OwnerId("alice"))
    graph = {
        "1": node("LoadImage", image=f"upload:{UPLOAD}"),
        "2": node("SaveImage", images=["1", 0], filename_prefix="copy"),
    }
    record = await run(elsewhere, graph, owner=OwnerId("alice"))
    (body,) = bodies(elsewhere, record)
    assert Image.open(BytesIO(body)).size == (24, 16)
