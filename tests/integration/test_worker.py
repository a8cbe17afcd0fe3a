"""One worker with one engine (the simulator), on in-memory ports: how jobs end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfyline.contract.ids import UploadId
from comfyline.service.files.uploads import StoredUpload, upload_key
from comfyline.service.jobs.artifact_keys import artifact_key
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.decide import MAX_FAULTS
from comfyline.service.jobs.events import LeaseExpired
from comfyline.service.jobs.job import MAX_ERROR_MESSAGE, TERMINAL, Status
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.metrics import Metric
from comfyui_sim.options import GUISES, Options
from comfyui_sim.server import Simulator
from tests.support import web
from tests.support.builders import now
from tests.support.eventually import WITHIN, eventually
from tests.support.ports import meanwhile, raising, wrapped
from tests.support.worker_world import EMPTY_IMAGE, LEASE, WorkerWorld, a_graph


@pytest.fixture(params=GUISES)
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[WorkerWorld]:
    """Beside an engine of the current version, and of the oldest supported one."""
    options = Options(data_dir=tmp_path, port=0, step_ms=2, guise=request.param)
    async with Simulator(options) as sim, web.AsyncClient(base_url=sim.url) as http:
        yield WorkerWorld(sim.url, tmp_path, http)


async def test_a_job_succeeds_and_its_picture_is_stored(world: WorkerWorld) -> None:
    job = world.queued(a_graph(steps=8))
    async with world.working():
        done = await world.until(job, Status.SUCCEEDED)
    record = world.store.read(job.id)
    assert record is not None
    (artifact,) = record.artifacts
    body = world.artifacts.files[artifact.key].body
    assert Image.open(BytesIO(body)).size == (64, 64)
    assert (artifact.kind, artifact.content_type, artifact.node) == ("image", "image/png", "7")
    assert artifact.key == artifact_key(done, 0, artifact.name)
    assert (done.attempt, done.progress.fraction, done.cached) == (1, 1.0, False)
    assert done.gpu_seconds > 0
    assert [c.event for c in done.history] == ["submitted", "claimed", "started", "succeeded"]
    assert world.queue.receive(job.priority, wait_seconds=0) == []


async def test_an_equal_graph_is_stored_again_and_counts_as_cached(world: WorkerWorld) -> None:
    async with world.working():
        first = await world.until(world.queued(), Status.SUCCEEDED)
        # Only now, because two jobs that are claimed together may reach the engine in any order.
        second = await world.until(world.queued(), Status.SUCCEEDED)
    assert (first.cached, second.cached) == (False, True)
    assert (first.nodes_cached, second.nodes_cached) == (0, 6)  # all but the node that saves
    record = world.store.read(second.id)
    assert record is not None
    assert record.artifacts[0].key in world.artifacts.files


async def test_a_job_id_that_is_used_again_runs_again(world: WorkerWorld) -> None:
    first = world.queued()
    async with world.working():
        await world.until(first, Status.SUCCEEDED)
        old = world.store.read(first.id)
        world.purge(first.id)
        second = world.queued(id=first.id, owner=first.owner)
        await world.until(second, Status.SUCCEEDED)
    record = world.store.read(second.id)
    assert old is not None
    assert record is not None
    assert record.job.attempt == old.job.attempt == 1
    assert {artifact.key for artifact in record.artifacts} == world.artifacts.files.keys()
    assert old.artifacts[0].key != record.artifacts[0].key


async def test_a_node_that_raises_fails_the_job_at_once_with_the_node(world: WorkerWorld) -> None:
    await world.faults(nodes={"KSampler": {"kind": "error", "message": "mat1 and mat2"}})
    job = world.queued()
    async with world.working():
        done = await world.until(job, Status.FAILED)
    assert done.error is not None
    assert (done.error.type, done.error.node_id, done.error.node_type) == (
        "node_error",
        "5",
        "KSampler",
    )
    assert "mat1 and mat2" in done.error.message
    assert done.attempt == 1


async def test_a_graph_that_the_engine_rejects_fails_with_node_and_input(
    world: WorkerWorld,
) -> None:
    graph = {k: {**v, "inputs": dict(v["inputs"])} for k, v in a_graph().items()}
    graph["5"]["inputs"]["sampler_name"] = "no_such_sampler"
    job = world.queued(graph)
    async with world.working():
        done = await world.until(job, Status.FAILED)
    assert done.error is not None
    assert (done.error.type, done.error.node_id) == ("value_not_in_list", "5")
    assert "sampler_name" in done.error.message
    assert await world.executed() == 0


async def test_out_of_memory_may_be_the_workers_fault_and_is_retried(world: WorkerWorld) -> None:
    await world.faults(nodes={"KSampler": {"kind": "out_of_memory", "times": 1}})
    job = world.queued()
    async with world.working():
        done = await world.until(job, Status.SUCCEEDED)
    assert (done.attempt, done.faults, done.failures) == (2, 1, 0)


async def test_a_job_that_always_runs_out_of_memory_ends_after_two_attempts(
    world: WorkerWorld,
) -> None:
    await world.faults(nodes={"KSampler": {"kind": "out_of_memory"}})
    job = world.queued()
    async with world.working():
        done = await world.until(job, Status.FAILED)
    assert done.error is not None
    assert (done.attempt, done.faults, done.error.type) == (2, MAX_FAULTS, "out_of_memory")
    assert "Use smaller" in done.error.message


async def test_a_muted_socket_costs_only_a_poll(world: WorkerWorld) -> None:
    await world.faults(mute_sockets=True)
    job = world.queued()
    async with world.working():
        done = await world.until(job, Status.SUCCEEDED)
    assert [c.event for c in done.history] == ["submitted", "claimed", "started", "succeeded"]


async def test_a_dropped_socket_costs_no_attempt(world: WorkerWorld) -> None:
    await world.faults(step_ms=20)
    job = world.queued(a_graph(steps=20))
    async with world.working():
        await world.until(job, Status.RUNNING)
        await world.faults(drop_sockets=True)
        done = await world.until(job, Status.SUCCEEDED)
    assert done.attempt == 1


async def test_a_running_job_is_canceled_and_the_engine_is_free_again(world: WorkerWorld) -> None:
    await world.faults(step_ms=100)
    job = world.queued(a_graph(steps=600))
    async with world.working():
        await world.until(job, Status.RUNNING)
        asked = cancel(job.id, job.owner, store=world.store, clock=now)
        assert asked.job.is_canceling
        done = await world.until(job, Status.CANCELED)
        await world.faults(step_ms=1)
        after = world.queued(EMPTY_IMAGE)
        await world.until(after, Status.SUCCEEDED)
    assert done.error is None


async def test_a_queued_job_that_was_canceled_never_runs(world: WorkerWorld) -> None:
    job = world.queued()
    assert cancel(job.id, job.owner, store=world.store, clock=now).job.status is Status.CANCELED
    after = world.queued(EMPTY_IMAGE)
    async with world.working():
        await world.until(after, Status.SUCCEEDED)
        await eventually(lambda: not world.queue.receive(job.priority, wait_seconds=0))
    assert world.row(job.id).attempt == 0


async def test_a_drained_worker_gives_the_job_back_at_once(world: WorkerWorld) -> None:
    await world.faults(step_ms=100)
    job = world.queued(a_graph(steps=600))
    async with world.working() as drain:
        await world.until(job, Status.RUNNING)
        drained_at = now()
        drain.set()
        back = await world.until(job, Status.QUEUED)
    assert back.lease is None
    assert (back.interruptions, back.failures) == (1, 0)
    # Nobody waited for the prompt or for the lease. The benchmark checks the target time.
    assert back.history[-1].at - drained_at < LEASE
    assert back.gpu_seconds > 0
    (ticket,) = world.queue.receive(job.priority, wait_seconds=0)
    assert ticket.job_id == job.id


async def test_a_job_past_its_execution_timeout_fails_and_the_engine_is_free(
    world: WorkerWorld,
) -> None:
    await world.faults(step_ms=100)
    job = world.queued(a_graph(steps=600), execution_timeout=timedelta(seconds=0.3))
    after = world.queued(EMPTY_IMAGE)
    async with world.working():
        done = await world.until(job, Status.FAILED)
        await world.until(after, Status.SUCCEEDED)
    assert done.error is not None
    assert done.error.type == "execution_timeout"


async def test_a_job_past_its_start_deadline_expires_and_never_runs(world: WorkerWorld) -> None:
    late, after = world.queued(start_deadline=now()), world.queued(EMPTY_IMAGE)
    async with world.working():
        done = await world.until(late, Status.EXPIRED)
        await world.until(after, Status.SUCCEEDED)
    assert (done.attempt, done.started_at) == (0, None)
    assert await world.executed() == 1


async def test_a_worker_that_lost_its_lease_stops_and_writes_nothing(world: WorkerWorld) -> None:
    await world.faults(step_ms=50)
    job = world.queued(a_graph(steps=400))
    async with world.working():
        running = await world.until(job, Status.RUNNING)
        late = now() + LEASE + timedelta(seconds=1)
        taken = world.store.save(running, advance(running, LeaseExpired(), late))
        engine_is_free = asyncio.create_task(_idle(world))
        await engine_is_free
    assert world.row(job.id).history == taken.history
    assert world.artifacts.files == {}


async def _idle(world: WorkerWorld) -> None:
    async with asyncio.timeout(WITHIN):
        while (await world.http.get("/queue")).json()["queue_running"]:
            await asyncio.sleep(0.01)


async def test_file_names_stay_inside_the_attempts_folder(world: WorkerWorld) -> None:
    graph = {k: {**v, "inputs": dict(v["inputs"])} for k, v in EMPTY_IMAGE.items()}
    graph["2"]["inputs"]["filename_prefix"] = "../../etc/evil"
    job = world.queued(graph)
    async with world.working():
        await world.until(job, Status.SUCCEEDED)
    (key,) = world.artifacts.files
    assert key.startswith(f"jobs/{world.row(job.id).attempt_path}/0_evil")


UPLOAD = UploadId("upl_" + "0" * 26)
LOADING = {
    "1": {"class_type": "LoadImage", "inputs": {"image": f"upload:{UPLOAD}"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
}


async def test_an_uploaded_picture_is_loaded(world: WorkerWorld) -> None:
    job = world.queued(LOADING)
    body = BytesIO()
    Image.new("RGB", (24, 16), "red").save(body, "PNG")
    key = upload_key(job.owner, UPLOAD)
    world.uploads.files[key] = StoredUpload("image/png", len(body.getvalue()), now())
    world.uploads.bodies[key] = body.getvalue()
    async with world.working():
        assert (await world.until(job, *TERMINAL)).status is Status.SUCCEEDED
    (artifact,) = world.artifacts.files.values()
    with Image.open(BytesIO(artifact.body)) as image:
        assert image.size == (24, 16)


async def test_a_missing_upload_fails_the_job_and_names_the_node(world: WorkerWorld) -> None:
    job = world.queued(LOADING)
    async with world.working():
        ended = await world.until(job, *TERMINAL)
    assert ended.status is Status.FAILED
    assert ended.error is not None
    assert ended.error.type == "input_missing"
    assert (ended.error.node_id, ended.error.node_type) == ("1", "LoadImage")


@pytest.mark.parametrize("port", ["artifacts", "store"])
async def test_a_bug_while_the_result_is_stored_costs_no_other_run(
    world: WorkerWorld, port: str
) -> None:
    method = {"artifacts": "put", "store": "put_result"}[port]
    bug = raising(TypeError("a bug of ours"))
    setattr(world, port, meanwhile(getattr(world, port), method, bug, times=99))
    job = world.queued()
    async with world.working():
        failed = await world.until(job, Status.FAILED)
    assert failed.error is not None
    assert (failed.error.type, failed.attempt) == ("not_stored", 1)
    assert failed.gpu_seconds > 0
    assert await world.executed() == 1


class RefusedForGood(ValueError):
    """As DynamoDB refuses an item of more than 400 KB."""


async def test_an_error_that_the_store_refuses_for_good_ends_the_job_at_once(
    world: WorkerWorld,
) -> None:
    def around(name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if name == "save" and args[1].error and args[1].error.type != "not_stored":
            raise RefusedForGood
        return call(*args, **kwargs)

    world.store = wrapped(world.store, around)
    await world.faults(nodes={"KSampler": {"kind": "error"}})
    job = world.queued()
    async with world.working():
        failed = await world.until(job, Status.FAILED)
    assert failed.error is not None
    assert (failed.error.type, failed.attempt) == ("not_stored", 1)


async def test_progress_that_the_store_refuses_for_good_is_logged_and_the_job_succeeds(
    world: WorkerWorld, caplog: pytest.LogCaptureFixture
) -> None:
    def around(name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if name == "save" and args[1].status is Status.RUNNING and args[1].progress.fraction > 0:
            raise RefusedForGood
        return call(*args, **kwargs)

    world.store = wrapped(world.store, around)
    job = world.queued(a_graph(steps=600))
    async with world.working():
        done = await world.until(job, Status.SUCCEEDED)
    assert done.attempt == 1
    assert "progress_broke" in {getattr(record, "action", "") for record in caplog.records}


async def test_a_heartbeat_that_the_store_refuses_for_good_is_logged_and_ends_the_attempt(
    world: WorkerWorld, caplog: pytest.LogCaptureFixture
) -> None:
    def around(name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if name == "renew":
            raise RefusedForGood
        return call(*args, **kwargs)

    world.store = wrapped(world.store, around)
    await world.faults(stall=True)
    job = world.queued(a_graph(steps=100))
    async with world.working():
        await eventually(
            lambda: world.metrics.sum(Metric.ATTEMPTS_ENDED, outcome="lease_lost") == 1
        )
    assert world.row(job.id).status is Status.QUEUED
    assert "heartbeat_broke" in {getattr(record, "action", "") for record in caplog.records}


async def test_a_job_may_make_many_files(world: WorkerWorld) -> None:
    count = 350
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": count, "color": 0},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    job = world.queued(graph)
    world.store.watch(job.id, now() + timedelta(minutes=5))
    async with world.working():
        done = await world.until(job, Status.SUCCEEDED)
    record = world.store.read(job.id)
    assert record is not None
    assert (len(record.artifacts), record.artifacts_total) == (100, count)
    listed = world.store.artifacts(done, range(count))
    assert [artifact.key for artifact in listed] == [
        artifact_key(done, number, artifact.name) for number, artifact in enumerate(listed)
    ]
    assert {artifact.key for artifact in listed} == world.artifacts.files.keys()
    assert await world.executed() == 1


async def test_a_refusal_that_repeats_a_long_value_of_the_caller_fails_the_job_at_once(
    world: WorkerWorld,
) -> None:
    graph = {k: {**v, "inputs": dict(v["inputs"])} for k, v in a_graph().items()}
    graph["5"]["inputs"]["steps"] = "A" * 450_000
    job = world.queued(graph)
    async with world.working():
        done = await world.until(job, Status.FAILED)
    assert done.error is not None
    assert (done.error.node_id, done.attempt) == ("5", 1)
    assert len(done.error.message) == MAX_ERROR_MESSAGE


async def test_a_node_that_fails_with_half_of_a_surrogate_pair_fails_the_job_at_once(
    tmp_path: Path,
) -> None:
    """With the extension of the image, ComfyUI's log cannot end its executor."""
    options = Options(data_dir=tmp_path, port=0, step_ms=2, quiet_log=True)
    async with Simulator(options) as sim, web.AsyncClient(base_url=sim.url) as http:
        world = WorkerWorld(sim.url, tmp_path, http)
        await world.faults(nodes={"KSampler": {"kind": "error", "message": "half \ud800"}})
        job = world.queued()
        async with world.working():
            done = await world.until(job, Status.FAILED)
    assert done.error is not None
    assert (done.error.type, done.error.node_id) == ("node_error", "5")
    assert "half \ufffd" in done.error.message
