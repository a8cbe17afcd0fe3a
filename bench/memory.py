"""The memory of each process of a local cloud, and whether it grows.

The emulator's memory is printed but never counts as growing, because the emulator keeps in memory
what AWS would store.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

from localcloud.state import Endpoints

ALLOWED_GROWTH = 1.10
ALLOWED_BYTES = 24 * 2**20
ENOUGH_SAMPLES = 8

Samples = Mapping[tuple[str, int], Sequence[int]]


class Memory:
    """Samples by process. A process that was started again is another process."""

    def __init__(self) -> None:
        self.samples: defaultdict[tuple[str, int], list[int]] = defaultdict(list)

    def sample(self, endpoints: Endpoints) -> None:
        """Add one sample of each process."""
        for name, pid in _processes(endpoints):
            with suppress(psutil.Error):
                self.samples[name, pid].append(psutil.Process(pid).memory_info().rss)

    def lines(self) -> list[str]:
        """A line for each process with enough samples, in MiB."""
        return [
            f"{name:<12} pid {pid:<8} {_mib(early(of)):>6} -> {_mib(late(of)):>6} MiB, "
            f"most {_mib(max(of))} MiB{'  GROWS' if self.grows(name, of) else ''}"
            for (name, pid), of in sorted(self.samples.items())
            if len(of) >= ENOUGH_SAMPLES
        ]

    def growing(self) -> list[str]:
        """The names of the processes that use more and more memory."""
        return sorted(name for (name, _), of in self.samples.items() if self.grows(name, of))

    @staticmethod
    def grows(name: str, samples: Sequence[int]) -> bool:
        """Whether the last quarter is above the second by more than the allowed growth."""
        if name == "emulator" or len(samples) < ENOUGH_SAMPLES:
            return False
        before, after = early(samples), late(samples)
        return after > before * ALLOWED_GROWTH and after > before + ALLOWED_BYTES


def early(samples: Sequence[int]) -> float:
    """The median of the second quarter. In the first one, the process warms up."""
    quarter = len(samples) // 4
    return statistics.median(samples[quarter : 2 * quarter])


def late(samples: Sequence[int]) -> float:
    """The median of the last quarter."""
    return statistics.median(samples[-(len(samples) // 4) :])


def _processes(endpoints: Endpoints) -> list[tuple[str, int]]:
    pids = endpoints.pids
    return [
        ("supervisor", pids.supervisor),
        ("emulator", pids.emulator),
        *((f"comfyui-{number}", pid) for number, pid in enumerate(pids.comfyui)),
        *((f"worker-{number}", pid) for number, pid in enumerate(pids.workers)),
    ]


def _mib(size: float) -> int:
    return round(size / 2**20)
