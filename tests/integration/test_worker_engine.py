"""An engine that the worker starts: without its secrets, watched, and restarted."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.job import Status
from comfyline.service.metrics import Metric
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import EngineCrashLoop
from gpu_worker.comfy.watchdog import Patience
from gpu_worker.supervisor import DEFAULT_POLICY, EngineProcess, Policy
from localcloud.state import free_port
from tests.support import web
from tests.support.builders import now
from tests.support.eventually import WITHIN, eventually
from tests.support.worker_world import EMPTY_IMAGE, WorkerWorld, a_graph

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorkerWorld]:
    async with web.AsyncClient(base_url=f"http://127.0.0.1:{free_port()}") as http:
        yield WorkerWorld(str(http.base_url).rstrip("/"), tmp_path, http)


def simulator(world: WorkerWorld, *options: str) -> Sequence[str]:
    port = str(world.http.base_url.port)
    data = ["--port", port, "--data-dir", str(world.base)]
    return [sys.executable, "-m", "comfyui_sim", *data, *options]


@asynccontextmanager
async def an_engine(
    world: WorkerWorld, *options: str, policy: Policy = DEFAULT_POLICY, boot_seconds: float = 0
) -> AsyncIterator[EngineProcess]:
    environ = {**os.environ, "AWS_SECRET_ACCESS_KEY": "secret", "JOBS_TABLE": "jobs"}
    slowly = ["sh", "-c", 'sleep "$0" && exec "$@"', str(boot_seconds)]
    command = [*slowly, *simulator(world, "--step-ms", "100", *options)]
    engine = EngineProcess(
        command, REPOSITORY, environ=environ, metrics=world.metrics, policy=policy
    )
    async with engine.kept():
        yield engine


def pid_of(engine: EngineProcess) -> int:
    assert engine.pid is not None
    return engine.pid


async def until(world: WorkerWorld, job: object, status: Status) -> None:
    await eventually(lambda: world.row(job.id).status is status)  # type: ignore[arg-type]


async def test_the_engine_gets_no_credentials_and_ends_with_the_worker(world: WorkerWorld) -> None:
    async with an_engine(world) as engine:
        await engine.wait_up()
        pid = pid_of(engine)
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"AWS_" not in environ
    assert b"JOBS_TABLE" not in environ
    assert b"PATH=" in environ
    await eventually(lambda: not Path(f"/proc/{pid}/environ").exists())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process as another user")
async def test_an_engine_of_another_user_keeps_no_group_or_capability_of_the_worker(
    world: WorkerWorld,
) -> None:
    command = ["sleep", "60"]
    nobody = pwd.getpwnam("nobody")
    engine = EngineProcess(
        command, Path("/"), environ=os.environ, metrics=InMemoryMetrics(), user=nobody.pw_name
    )
    async with engine.kept():
        await engine.wait_up()
        status = Path(f"/proc/{pid_of(engine)}/status").read_text()
    ids = {line.partition(":")[0]: line.split()[1:] for line in status.splitlines()}
    assert ids["Uid"] == [str(nobody.pw_uid)] * 4
    assert ids["Gid"] == [str(nobody.pw_gid)] * 4
    assert ids["Groups"] == []
    assert ids["Umask"] == ["0002"]
    assert ids["CapEff"] == ["0" * 16]


async def test_a_killed_engine_is_held_against_the_running_job_only(
    world: WorkerWorld,
) -> None:
    running, ahead = world.queued(a_graph(seed=1, steps=40)), world.queued(a_graph(seed=2, steps=4))
    async with an_engine(world) as engine, world.working(engine):
        await until(world, running, Status.RUNNING)
        await eventually(lambda: world.row(ahead.id).lease is not None)
        os.kill(pid_of(engine), signal.SIGKILL)
        await eventually(lambda: world.row(running.id).faults == 1)
        await until(world, ahead, Status.SUCCEEDED)
        await until(world, running, Status.SUCCEEDED)
    assert world.metrics.sum(Metric.ENGINE_RESTARTS, reason="ended") == 1
    assert world.metrics.sum(Metric.ATTEMPTS_ENDED, outcome="ended") == 2
    assert world.row(running.id).attempt == 2
    assert (world.row(ahead.id).failures, world.row(ahead.id).faults) == (0, 0)


async def test_a_job_that_comes_while_the_engine_is_down_waits_in_the_queue(
    world: WorkerWorld,
) -> None:
    async with an_engine(world, boot_seconds=2) as engine, world.working(engine):
        before = world.queued(EMPTY_IMAGE)
        await until(world, before, Status.SUCCEEDED)  # the worker is in its long poll again
        os.kill(pid_of(engine), signal.SIGKILL)
        await eventually(lambda: world.metrics.sum(Metric.ENGINE_RESTARTS, reason="ended") == 1)
        job = world.queued(a_graph(seed=1, steps=1))
        await until(world, job, Status.SUCCEEDED)
    assert world.row(job.id).attempt == 1


async def test_a_node_that_kills_its_engine_ends_the_job_after_two_tries(
    world: WorkerWorld,
) -> None:
    graph = {
        "1": EMPTY_IMAGE["1"],
        "2": {
            "class_type": "ProbeFault",
            "inputs": {"images": ["1", 0], "kind": "exit", "nonce": 0},
        },
    }
    poison, other = world.queued(graph), world.queued(EMPTY_IMAGE)
    async with an_engine(world, policy=Policy(max_failures=1)) as engine, world.working(engine):
        await until(world, poison, Status.FAILED)
        await until(world, other, Status.SUCCEEDED)
    done = world.row(poison.id)
    assert done.error is not None
    assert (done.attempt, done.faults, done.error.type) == (2, 2, "engine_lost")
    assert (done.error.node_id, done.error.node_type) == ("2", "ProbeFault")


async def test_a_cancel_of_a_node_that_does_not_stop_restarts_the_engine(
    world: WorkerWorld,
) -> None:
    world.patience = Patience(disobedient=0.5)
    job = world.queued(a_sleep(600))
    async with an_engine(world) as engine, world.working(engine):
        await until(world, job, Status.RUNNING)
        before = pid_of(engine)
        cancel(job.id, job.owner, store=world.store, clock=now)
        await until(world, job, Status.CANCELED)
        after = world.queued(EMPTY_IMAGE)
        await until(world, after, Status.SUCCEEDED)
        assert pid_of(engine) != before


def a_sleep(seconds: float) -> dict[str, object]:
    """A graph with a node that ignores interrupts."""
    sleep = {"images": ["1", 0], "seconds": seconds, "progress": False, "nonce": 0}
    return {
        **EMPTY_IMAGE,
        "3": {"class_type": "ProbeSleep", "inputs": sleep},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    }


async def test_a_silent_engine_is_restarted_and_the_job_is_retried(world: WorkerWorld) -> None:
    world.patience = Patience(silent=1.0)
    job = world.queued(a_graph(steps=40))
    async with an_engine(world) as engine, world.working(engine):
        await eventually(lambda: world.row(job.id).status is Status.RUNNING)
        await world.faults(stall=True)
        # On a busy machine an idle engine can seem to work for some seconds.
        await eventually(lambda: world.row(job.id).faults == 1)
        await until(world, job, Status.SUCCEEDED)


async def test_a_message_that_ends_comfyuis_executor_is_found_by_its_silence(
    world: WorkerWorld,
) -> None:
    """ComfyUI shows the prompt as running for ever, and its history never has it."""
    world.patience = Patience(silent=1.0)
    job = world.queued(a_graph(steps=2))
    async with an_engine(world) as engine:
        await engine.wait_up()
        async with asyncio.timeout(WITHIN):
            await _faults_once_up(world, message="half \ud800 of a pair")
        async with world.working(engine):
            await eventually(lambda: world.row(job.id).faults == 1)
            await until(world, job, Status.SUCCEEDED)


async def test_a_silent_node_that_computes_is_not_given_up(world: WorkerWorld) -> None:
    world.patience = Patience(silent=2.0)
    job = world.queued({"1": {"class_type": "CaseCompute", "inputs": {"seconds": 6.0}}})
    async with an_engine(world) as engine, world.working(engine):
        await until(world, job, Status.SUCCEEDED)
    assert world.row(job.id).attempt == 1


async def test_a_cuda_error_restarts_the_engine(world: WorkerWorld) -> None:
    job = world.queued(a_graph(steps=2))
    async with an_engine(world) as engine:
        await engine.wait_up()
        async with asyncio.timeout(WITHIN):
            await _faults_once_up(world)
        before = pid_of(engine)
        async with world.working(engine):
            await until(world, job, Status.SUCCEEDED)
        assert pid_of(engine) != before
    assert world.row(job.id).faults == 1


async def _faults_once_up(world: WorkerWorld, **more: str) -> None:
    while True:
        try:
            return await world.faults(nodes={"KSampler": {"kind": "cuda_error", **more}})
        except httpx.TransportError:
            await asyncio.sleep(0.05)


async def test_an_engine_is_recycled_between_jobs_at_no_cost_to_them(world: WorkerWorld) -> None:
    jobs = [world.queued(a_graph(seed=n, steps=1)) for n in range(5)]
    async with an_engine(world, policy=Policy(max_prompts=2)) as engine, world.working(engine):
        await engine.wait_up()
        first = pid_of(engine)
        for job in jobs:
            await until(world, job, Status.SUCCEEDED)
        assert pid_of(engine) != first
    assert [world.row(job.id).attempt for job in jobs] == [1] * 5


async def test_an_engine_that_does_not_stay_up_ends_the_worker(world: WorkerWorld) -> None:
    job = world.queued(EMPTY_IMAGE)
    engine = EngineProcess(
        ["false"], world.base, environ={}, metrics=InMemoryMetrics(), policy=Policy(max_failures=2)
    )
    async with engine.kept(), ComfyEngine.connected(world.url, engine) as comfy:
        with pytest.raises(EngineCrashLoop):
            await asyncio.wait_for(world.worker(comfy).work(asyncio.Event()), WITHIN)
    assert world.row(job.id).attempt == 0


async def test_a_memory_bomb_ends_as_the_jobs_error_and_the_worker_stays(
    world: WorkerWorld,
) -> None:
    """A picture of 16,000 x 16,000 takes 1 GB in the simulator, and more to save it."""
    bomb = {
        **EMPTY_IMAGE,
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 16_000, "height": 16_000, "batch_size": 1, "color": 0},
        },
    }
    poison, good = world.queued(bomb), world.queued(EMPTY_IMAGE)
    policy = Policy(memory_limit_bytes=400 * 2**20)
    async with an_engine(world, policy=policy) as engine, world.working(engine):
        await until(world, poison, Status.FAILED)
        await until(world, good, Status.SUCCEEDED)
    done = world.row(poison.id)
    assert done.error is not None
    assert (done.attempt, done.faults, done.error.type) == (2, 2, "out_of_memory")
    assert "Use smaller" in done.error.message
    assert world.row(good.id).faults == 0
    assert world.metrics.sum(Metric.ENGINE_RESTARTS, reason="out_of_memory") == 2


async def test_the_kernel_ends_the_engine_before_the_worker(world: WorkerWorld) -> None:
    async with an_engine(world) as engine:
        await engine.wait_up()
        score = Path(f"/proc/{pid_of(engine)}/oom_score_adj")
        await eventually(lambda: score.read_text().strip() == "1000")


async def test_jobs_that_kill_their_engine_take_no_worker_out_of_service(
    world: WorkerWorld,
) -> None:
    """Each of them twice, one after the other: more ends than a crash loop has."""
    graph = {
        "1": EMPTY_IMAGE["1"],
        "2": {
            "class_type": "ProbeFault",
            "inputs": {"images": ["1", 0], "kind": "exit", "nonce": 0},
        },
    }
    world.warm_up = EMPTY_IMAGE
    poison = [world.queued(graph) for _ in range(3)]
    good = world.queued(EMPTY_IMAGE)
    async with an_engine(world, policy=Policy(max_failures=2)) as engine, world.working(engine):
        for job in poison:
            await until(world, job, Status.FAILED)
        await until(world, good, Status.SUCCEEDED)
    assert [world.row(job.id).faults for job in poison] == [2, 2, 2]
    assert world.metrics.sum(Metric.ENGINE_RESTARTS, reason="ended") == 6


async def test_an_engine_that_ends_while_it_is_idle_is_probed_before_the_next_job(
    world: WorkerWorld,
) -> None:
    world.warm_up = EMPTY_IMAGE
    async with an_engine(world) as engine, world.working(engine):
        first = world.queued(EMPTY_IMAGE)
        await until(world, first, Status.SUCCEEDED)
        os.kill(pid_of(engine), signal.SIGKILL)
        await eventually(lambda: not world.healths[-1].allows_jobs)
        second = world.queued(EMPTY_IMAGE)
        await until(world, second, Status.SUCCEEDED)
        assert await world.executed() == 2  # the probe, then the job
    assert world.row(second.id).attempt == 1
