"""Before a worker's first job: the models and the warm-up, on the simulator."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from comfyline.adapters.memory.files import InMemoryModelStore
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.graphs.lock import EngineLock, InvalidLock
from comfyui_sim.options import GUISES, Options
from comfyui_sim.server import Simulator
from gpu_worker import prepare
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import EngineCrashLoop, ForeignEngine, Keeper
from gpu_worker.models.download import ModelsUnusable
from gpu_worker.models.folder import ModelFolder
from gpu_worker.prepare import Preparation, WarmUpFailed
from gpu_worker.supervisor import EngineProcess, Policy
from tests.support.worker_world import EMPTY_IMAGE, WorkerWorld, a_graph

LOCK = Path(__file__).parents[2] / "gpu_worker" / "engine.lock.toml"
BODY = b"weights"
NOWHERE = "http://127.0.0.1:9"  # the discard port, where nothing answers


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorkerWorld]:
    options = Options(data_dir=tmp_path, port=0, step_ms=2)
    async with Simulator(options) as sim, httpx.AsyncClient(base_url=sim.url) as http:
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
        async with httpx.AsyncClient(base_url=sim.url) as http:
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
    assert await asyncio.wait_for(warming, 10) is False


async def until_executing(world: WorkerWorld) -> None:
    async with asyncio.timeout(10):
        while not (await world.http.get("/queue")).json()["queue_running"]:
            await asyncio.sleep(0.01)


async def test_a_drain_ends_the_wait_for_an_engine(world: WorkerWorld) -> None:
    drain = asyncio.Event()
    world.url = NOWHERE
    warming = asyncio.create_task(warm_up(world, EMPTY_IMAGE, drain))
    await asyncio.sleep(0)
    drain.set()
    assert await asyncio.wait_for(warming, 10) is False


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
