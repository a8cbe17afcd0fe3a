"""The memory of a process tree, and the limits of the machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gpu_worker.memory import available_bytes, oom_kills, session_bytes
from tests.support.eventually import eventually_now

MIB = 2**20
CHILD = "import sys; held = bytearray(b'x' * (64 * 2**20)); sys.stdin.read()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.mark.parametrize("program", [CHILD, PARENT], ids=["its own", "of a child"])
def test_the_memory_of_a_session_counts_all_its_processes(program: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, stdin=subprocess.PIPE
    ) as process:
        eventually_now(lambda: session_bytes(process.pid) > 60 * MIB)
        assert session_bytes(process.pid) < 500 * MIB
        assert process.stdin is not None
        process.stdin.close()


def test_a_session_without_processes_uses_nothing() -> None:
    assert session_bytes(2**30) == 0


def test_the_available_memory_is_at_most_that_of_the_machine() -> None:
    assert 0 < available_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_the_kills_of_the_kernel_are_a_number() -> None:
    assert oom_kills() >= 0
