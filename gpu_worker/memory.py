"""The host memory of the engine's processes, and what limits it. Linux only. No function raises.

The pages of mapped files, such as models, are left out: the kernel takes them back when memory is
short, so they are no reason to end a process.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from gpu_worker.processes import processes_of

_KIB = 1024
_OWN = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)
# A container sees its own cgroup as the root: cgroup v2, or the memory controller of v1.
_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def session_bytes(session: int) -> int:
    """The memory of all processes of a session that the kernel cannot take back."""
    return sum(_process_bytes(folder) for folder, _ in processes_of(session))


def available_bytes() -> int:
    """The memory that this container or machine may use in all."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = (_number(path, re.compile(r"^(\d+)$", re.MULTILINE)) for path in _LIMITS)
    return min([machine, *(limit for limit in limits if limit)])


def oom_kills() -> int:
    """How often the kernel has ended a process of this container because memory was short."""
    return max(_number(path, _KILLS) for path in _EVENTS)


def _process_bytes(folder: Path) -> int:
    with suppress(OSError):
        return _KIB * sum(map(int, _OWN.findall(_text(folder / "status"))))
    return 0


def _number(path: str, pattern: re.Pattern[str]) -> int:
    with suppress(OSError):
        if (match := pattern.search(_text(Path(path)))) is not None:
            return int(match[1])
    return 0


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
