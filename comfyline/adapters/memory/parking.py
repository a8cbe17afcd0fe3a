"""The queue of failed steps in memory. A test reads `steps` and `records`."""

from __future__ import annotations

from collections.abc import Sequence

from comfyline.service.jobs.settle import ParkedStep


class InMemoryParking:
    """`Parking` in memory."""

    def __init__(self) -> None:
        self.steps: list[ParkedStep] = []
        self.records: list[str] = []

    def park(self, steps: Sequence[ParkedStep]) -> None:
        """See Parking."""
        self.steps.extend(steps)

    def set_aside(self, record: str) -> None:
        """See Parking."""
        self.records.append(record)
