"""A fault is held against one job or against the worker, which then takes no job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.metrics import Metric
from gpu_worker.comfy.keeper import EngineCrashLoop
from gpu_worker.health import Health, Patience, WorkerUnhealthy
from gpu_worker.machine_faults import FaultKind
from tests.support.eventually import eventually

DISK, GPU, LOST = FaultKind.OUT_OF_DISK, FaultKind.GPU_ERROR, FaultKind.ENGINE_LOST
FULL = "the disk is full"


class Machine:
    """A worker's machine. A test sets what each probe finds, and lets probes end."""

    def __init__(
        self, *found: str | BaseException | None, patience: Patience | None = None
    ) -> None:
        self.found = list(found)  # by the coming probes; the last is repeated
        self.done: list[str] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.metrics = InMemoryMetrics()
        often = patience or Patience(pauses=(0.0,))
        self.health = Health(self.probe, self.restart, self.metrics, often)

    async def probe(self) -> str | None:
        self.done.append("probed")
        await self.may_end.wait()
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, BaseException):
            raise found
        return found

    def restart(self, reason: str) -> None:
        self.done.append(f"restarted {reason}")

    async def clean_up(self) -> None:
        self.done.append("cleaned up")


@asynccontextmanager
async def a_machine(*found: str | BaseException | None) -> AsyncIterator[Machine]:
    machine = Machine(*found)
    try:
        yield machine
    finally:
        await machine.health.close()


async def verdict_on(machine: Machine, kind: FaultKind = GPU) -> bool | None:
    probing = machine.health.suspect(kind, clean_up=machine.clean_up)
    return None if probing is None else await probing


async def test_a_new_worker_is_fit() -> None:
    async with a_machine(None) as machine:
        await machine.health.wait()
        assert (machine.health.allows_jobs, machine.health.reason) == (True, None)


async def test_a_probe_that_passes_blames_the_job_and_the_worker_goes_on() -> None:
    async with a_machine(None) as machine:
        assert await verdict_on(machine) is True
        assert machine.done == ["restarted gpu_error", "cleaned up", "probed"]
        await machine.health.wait()
        assert machine.health.allows_jobs
        assert machine.metrics.sum(Metric.WORKERS_UNHEALTHY, reason="gpu_error") == 0


async def test_a_probe_that_fails_blames_the_worker_until_one_passes() -> None:
    async with a_machine(FULL, FULL, None) as machine:
        assert await verdict_on(machine, DISK) is False
        assert (machine.health.allows_jobs, machine.health.reason) == (False, FULL)
        await machine.health.wait()
        assert (machine.health.allows_jobs, machine.health.reason) == (True, None)
        assert machine.done.count("restarted out_of_disk") == machine.done.count("probed") == 3
        assert machine.metrics.sum(Metric.WORKERS_UNHEALTHY, reason="out_of_disk") == 2


async def test_no_job_starts_from_the_fault_on() -> None:
    async with a_machine(None) as machine:
        machine.may_end.clear()
        machine.health.suspect(GPU)
        assert not machine.health.allows_jobs
        waiting = asyncio.create_task(machine.health.wait())
        await eventually(lambda: machine.done)
        assert not waiting.done()
        machine.may_end.set()
        await waiting


async def test_a_fault_during_the_check_of_another_is_not_held_against_its_job() -> None:
    async with a_machine(None) as machine:
        machine.may_end.clear()
        first = machine.health.suspect(DISK)
        assert await verdict_on(machine, LOST) is None
        assert machine.done[:1] == ["restarted out_of_disk"]
        machine.may_end.set()
        assert first is not None
        assert await first is True


async def test_a_fault_while_out_of_service_is_not_held_against_its_job() -> None:
    async with Patient(FULL) as machine:
        assert await verdict_on(machine) is False
        assert await verdict_on(machine) is None


class Patient:
    """A machine that waits long between two probes."""

    def __init__(self, *found: str | None) -> None:
        self.machine = Machine(*found, patience=Patience(pauses=(60.0,)))

    async def __aenter__(self) -> Machine:
        return self.machine

    async def __aexit__(self, *_: object) -> None:
        await self.machine.health.close()


async def test_a_clean_up_that_fails_leaves_the_decision_to_the_probe() -> None:
    async def fail() -> None:
        raise OSError(5, "Input/output error")

    async with a_machine(FULL) as machine:
        probing = machine.health.suspect(DISK, clean_up=fail)
        assert probing is not None
        assert await probing is False
        assert not machine.health.allows_jobs


async def test_a_restart_that_reports_the_end_at_once_begins_no_second_check() -> None:
    async with a_machine(None) as machine:

        def restart(reason: str) -> None:
            machine.restart(reason)
            machine.health.suspect(LOST, restart=False)

        machine.health = Health(machine.probe, restart, machine.metrics)
        assert await verdict_on(machine) is True
        assert machine.done.count("probed") == 1


async def test_a_worker_that_stays_unhealthy_ends() -> None:
    machine = Machine(FULL, patience=Patience(pauses=(0.0,), give_up_seconds=0.0))
    assert await verdict_on(machine, DISK) is False
    with pytest.raises(WorkerUnhealthy, match=FULL):
        await machine.health.wait()
    assert not machine.health.allows_jobs
    await machine.health.close()


async def test_an_engine_that_does_not_stay_up_ends_the_worker_and_is_not_the_jobs_fault() -> None:
    async with a_machine(EngineCrashLoop("5 times")) as machine:
        assert await verdict_on(machine) is False
        with pytest.raises(EngineCrashLoop):
            await machine.health.wait()


async def test_a_later_fault_is_a_new_check() -> None:
    async with a_machine(None, FULL) as machine:
        assert await verdict_on(machine) is True
        await machine.health.wait()
        assert await verdict_on(machine) is False


async def test_a_cancel_of_the_one_who_waits_does_not_end_the_check() -> None:
    async with a_machine(None) as machine:
        machine.may_end.clear()
        machine.health.suspect(GPU)
        waiting = asyncio.create_task(machine.health.wait())
        await eventually(lambda: "probed" in machine.done)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        machine.may_end.set()
        await machine.health.wait()
        assert machine.health.allows_jobs
