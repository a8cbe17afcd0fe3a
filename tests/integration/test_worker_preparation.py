"""Before a worker's first job: the models and the warm-up, on the simulator."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from comfyline.adapters.memory.files import InMemoryModelStore
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.files.models import ModelMissing, ModelPart
from comfyline.service.graphs.lock import EngineLock, InvalidLock, Model
from comfyline.service.jobs.job import Status
from comfyui_sim.options import GUISES, Options
from comfyui_sim.server import Simulator
from gpu_worker import prepare
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import EngineCrashLoop, ForeignEngine, Keeper
from gpu_worker.models.download import ModelsUnusable
from gpu_worker.models.folder import ModelFolder
from gpu_worker.models.loading import Loading
from gpu_worker.prepare import Preparation, WarmUpFailed
from gpu_worker.supervisor import EngineProcess, Policy
from tests.support import web
from tests.support.eventually import WITHIN
from tests.support.worker_world import EMPTY_IMAGE, WorkerWorld, a_graph

LOCK = Path(__file__).parents[2] / "gpu_worker" / "engine.lock.toml"
BODY = b"weights"
NOWHERE = "http://127.0.0.1:9"  # the discard port, where nothing answers


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorkerWorld]:
    options = Options(data_dir=tmp_path, port=0, step_ms=2)
    async with Simulator(options) as sim, web.AsyncClient(base_url=sim.url) as http:
        yield WorkerWorld(sim.url, tmp_path, http)


@asynccontextmanager
async def an_engine(url: str, keeper: Keeper | None = None) -> AsyncIterator[ComfyEngine]:
    async with ComfyEngine.connected(url, keeper or ForeignEngine()) as engine:
        yield engine


async def warm_up(world: WorkerWorld, graph: Any, drain: asyncio.Event | None = None) -> bool:
    async with an_engine(world.url) as engine:
        return await prepare.warm_up(engine, graph, drain or asyncio.Event())


@pytest.mark.parametrize("guise", GUISES)
async def test_the_projects_own_warm_up_runs(tmp_path: Path, guise: str) -> None:
    preparation = Preparation.of_lock(LOCK, None)
    checkpoints = (preparation.lock.default_checkpoint,)
    options = Options(data_dir=tmp_path, port=0, checkpoints=checkpoints, guise=guise)
    async with Simulator(options) as sim, an_engine(sim.url) as engine:
        assert await preparation.run(engine, asyncio.Event())
        async with web.AsyncClient(base_url=sim.url) as http:
            assert (await http.get("/sim/executed")).json()["count"] == 1
    assert not [path for path in (tmp_path / "output").rglob("*") if path.is_file()]


async def test_a_second_warm_up_runs_every_node_again(world: WorkerWorld) -> None:
    """An engine that is not restarted must not answer a probe from its cache."""
    assert await warm_up(world, a_graph())
    await world.faults(nodes={"CheckpointLoaderSimple": {"kind": "cuda_error"}})
    with pytest.raises(WarmUpFailed, match="CUDA error"):
        await warm_up(world, a_graph())


async def test_a_graph_that_the_engine_rejects_fails_the_warm_up(world: WorkerWorld) -> None:
    with pytest.raises(WarmUpFailed, match="no-such"):
        await warm_up(world, {"1": {"class_type": "no-such", "inputs": {}}})


async def test_a_node_that_raises_fails_the_warm_up(world: WorkerWorld) -> None:
    await world.faults(nodes={"KSampler": {"kind": "error", "message": "no kernel image"}})
    with pytest.raises(WarmUpFailed, match="no kernel image"):
        await warm_up(world, a_graph())


async def test_an_engine_that_dies_is_a_crash_loop(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    policy = Policy(max_failures=1)
    dying = EngineProcess(command, tmp_path, environ={}, metrics=InMemoryMetrics(), policy=policy)
    async with dying.kept(), an_engine(NOWHERE, dying) as engine:
        with pytest.raises(EngineCrashLoop):
            await prepare.warm_up(engine, EMPTY_IMAGE, asyncio.Event())


async def test_a_drain_ends_the_warm_up(world: WorkerWorld) -> None:
    drain = asyncio.Event()
    warming = asyncio.create_task(warm_up(world, a_graph(steps=5000), drain))
    await until_executing(world)
    drain.set()
    assert await asyncio.wait_for(warming, WITHIN) is False


async def until_executing(world: WorkerWorld) -> None:
    async with asyncio.timeout(WITHIN):
        while not (await world.http.get("/queue")).json()["queue_running"]:
            await asyncio.sleep(0.01)


async def test_a_drain_ends_the_wait_for_an_engine(world: WorkerWorld) -> None:
    drain = asyncio.Event()
    world.url = NOWHERE
    warming = asyncio.create_task(warm_up(world, EMPTY_IMAGE, drain))
    await asyncio.sleep(0)
    drain.set()
    assert await asyncio.wait_for(warming, WITHIN) is False


def a_lock(folder: Path, sha256: str) -> Path:
    path = folder / "lock.toml"
    path.write_text(
        f"""
        default_checkpoint = "a.safetensors"
        warm_up = "warm.json"
        [comfyui]
        repository = "https://example.com/engine"
        commit = "{"1" * 40}"
        [[models]]
        path = "checkpoints/a.safetensors"
        sha256 = "{sha256}"
        bytes = {len(BODY)}
        """
    )
    path.with_name("warm.json").write_text(json.dumps(EMPTY_IMAGE))
    return path


@pytest.mark.parametrize("right", [True, False])
async def test_models_come_before_the_warm_up(
    world: WorkerWorld, tmp_path: Path, right: bool
) -> None:
    store = InMemoryModelStore()
    store.files["models/checkpoints/a.safetensors"] = BODY
    lock = a_lock(tmp_path, hashlib.sha256(BODY if right else b"other").hexdigest())
    preparation = Preparation.of_lock(
        lock, ModelFolder(store, tmp_path / "models", InMemoryMetrics())
    )
    async with an_engine(world.url) as engine:
        if right:
            assert await preparation.run(engine, asyncio.Event())
        else:
            with pytest.raises(ModelsUnusable):
                await preparation.run(engine, asyncio.Event())
    assert await world.executed() == int(right)


def test_a_lock_that_is_not_valid_is_refused(tmp_path: Path) -> None:
    lock = a_lock(tmp_path, "no sum")
    with pytest.raises(InvalidLock):
        Preparation.of_lock(lock, None)
    assert isinstance(Preparation.of_lock(LOCK, None).lock, EngineLock)


# --- jobs before all models are there ------------------------------------------------------------


class HeldStore(InMemoryModelStore):
    """Hands out the model `late` only after `gate` has opened, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.is_lost = threading.Event(), False

    def open(self, key: str, *part: Any) -> AbstractContextManager[ModelPart]:
        if "late" in key:
            assert self.gate.wait(WITHIN)
        if "late" in key and self.is_lost:
            raise ModelMissing(key)
        return super().open(key, *part)


@asynccontextmanager
async def taking_early(
    world: WorkerWorld, folder: Path, store: HeldStore
) -> AsyncIterator[asyncio.Event]:
    """A worker that fetches `late` while it runs jobs; yields its event `retire`."""
    early, late = (
        Model(
            path=f"checkpoints/{name}.safetensors",
            sha256=hashlib.sha256(BODY).hexdigest(),
            bytes=len(BODY),
        )
        for name in ("early", "late")
    )
    store.files = {model.key: BODY for model in (early, late)}
    lock = Preparation.of_lock(LOCK, None).lock.model_copy(update={"models": (early, late)})
    loading, retire = Loading(lock.models), asyncio.Event()
    models = ModelFolder(store, folder, InMemoryMetrics())
    preparation = Preparation(lock, EMPTY_IMAGE, models, loading)
    async with an_engine(world.url) as engine, preparation.filling(retire):
        assert await preparation.run(engine, asyncio.Event())
        async with world.drained(world.worker(engine, loading=loading)):
            try:
                yield retire
            finally:
                store.gate.set()


def naming(text: str) -> Any:
    """A graph without a model, in which a text resembles the name of one."""
    graph = {key: {**node, "inputs": {**node["inputs"]}} for key, node in EMPTY_IMAGE.items()}
    graph["2"]["inputs"]["filename_prefix"] = text
    return graph


async def test_a_job_whose_models_are_there_runs_while_others_are_fetched(
    world: WorkerWorld, tmp_path: Path
) -> None:
    store = HeldStore()
    async with taking_early(world, tmp_path / "models", store):
        waiting = world.queued(naming("late.safetensors"))
        ready = world.queued(naming("early.safetensors"))
        await world.until(ready, Status.SUCCEEDED)
        row = world.row(waiting.id)
        assert (row.status, row.attempt, row.failures) == (Status.QUEUED, 0, 0)
        store.gate.set()
        await world.until(waiting, Status.SUCCEEDED)
        assert world.row(waiting.id).attempt == 1


async def test_a_model_that_cannot_be_had_retires_the_worker(
    world: WorkerWorld, tmp_path: Path
) -> None:
    store = HeldStore()
    store.is_lost = True

    async def work() -> None:
        async with taking_early(world, tmp_path / "models", store) as retire:
            store.gate.set()
            await asyncio.wait_for(retire.wait(), WITHIN)

    with pytest.raises(ModelsUnusable, match="late"):
        await work()
