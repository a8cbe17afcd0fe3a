"""Whether an engine works, as the kernel counts it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gpu_worker.activity import BUSY_IO, ProcessActivity

WINDOW = 10.0
TICKS = os.sysconf("SC_CLK_TCK")


class Kernel:
    """A /proc, and a clock."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, 1000.0
        self.activity = ProcessActivity(lambda: self.now, root)

    def process(
        self, pid: int, session: int, *, cpu_seconds: float, io: int = 0, name: str = "python"
    ) -> None:
        folder = self.root / str(pid)
        folder.mkdir(exist_ok=True)
        times = [round(cpu_seconds * TICKS), 0, 0, 0]
        fields = ["S", 1, pid, session, 0, -1, 0, 0, 0, 0, 0, *times, 20, 0, 1]
        (folder / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")
        (folder / "io").write_text(f"rchar: {io}\nwchar: 0\nread_bytes: 0\n")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setenv("PATH", str(tmp_path))  # without NVIDIA's tool
    (tmp_path / "self").mkdir()
    return Kernel(tmp_path)


async def after(kernel: Kernel, seconds: float, **used: float) -> bool:
    """Whether the session is busy if its child uses this in so many seconds."""
    kernel.process(7, 7, cpu_seconds=3)
    kernel.process(8, 7, cpu_seconds=1, name="a b) (c")
    await kernel.activity.is_busy(7, WINDOW)
    kernel.now += seconds
    kernel.process(8, 7, cpu_seconds=1 + used.get("cpu", 0), io=int(used.get("io", 0)))
    return await kernel.activity.is_busy(7, WINDOW)


async def test_nothing_is_known_at_first(kernel: Kernel) -> None:
    kernel.process(7, 7, cpu_seconds=1000, io=10**9)
    assert not await kernel.activity.is_busy(7, WINDOW)


@pytest.mark.parametrize(("cpu", "is_busy"), [(0.0, False), (0.5, False), (1.5, True), (40, True)])
async def test_cpu_time_of_any_process_of_the_session_counts(
    kernel: Kernel, cpu: float, is_busy: bool
) -> None:
    assert await after(kernel, 10, cpu=cpu) is is_busy


@pytest.mark.parametrize(("rate", "is_busy"), [(0.5, False), (2, True)])
async def test_reading_counts(kernel: Kernel, rate: float, is_busy: bool) -> None:
    assert await after(kernel, 10, io=10 * BUSY_IO * rate) is is_busy


async def test_a_burst_of_work_is_not_enough(kernel: Kernel) -> None:
    assert not await after(kernel, 1, cpu=0.9)
    kernel.now += 9
    assert not await kernel.activity.is_busy(7, WINDOW)


async def test_other_sessions_do_not_count(kernel: Kernel) -> None:
    kernel.process(9, 9, cpu_seconds=0)
    await kernel.activity.is_busy(7, WINDOW)
    kernel.now += 10
    kernel.process(9, 9, cpu_seconds=10, io=10**9)
    assert not await kernel.activity.is_busy(7, WINDOW)


async def test_processes_that_end_or_cannot_be_read_do_not_matter(kernel: Kernel) -> None:
    (kernel.root / "11").mkdir()
    (kernel.root / "12").mkdir()
    (kernel.root / "12" / "stat").write_text("12 (x")
    assert not await after(kernel, 10)


async def test_a_busy_gpu_counts_and_is_asked_for_only_now_and_then(kernel: Kernel) -> None:
    tool = kernel.root / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 0\necho 97\n")
    tool.chmod(0o755)
    assert await kernel.activity.is_busy(7, WINDOW)
    tool.write_text("#!/bin/sh\necho '[N/A]'\n")
    kernel.now += 1
    assert await kernel.activity.is_busy(7, WINDOW)
    kernel.now += 10
    assert not await kernel.activity.is_busy(7, WINDOW)


async def test_this_very_process_is_busy_while_it_computes() -> None:
    # By this clock it computes all the time, also where other processes have the cores.
    activity, session = ProcessActivity(time.process_time), os.getsid(0)
    await activity.is_busy(session, 0)
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    assert await activity.is_busy(session, 0)
