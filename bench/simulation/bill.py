"""What a simulated run has cost, and how long its jobs have waited."""

from __future__ import annotations

from dataclasses import dataclass, field

from comfyline.service.fleet.capacity import Capacity


@dataclass(slots=True)
class Bill:
    """The paid and the used GPU seconds, and how long jobs waited for their first start."""

    paid_on_demand: float = 0.0
    paid_spot: float = 0.0
    worked: float = 0.0
    reclaimed: int = 0
    waits: dict[float, int] = field(default_factory=dict)

    @property
    def paid(self) -> float:
        """All paid seconds."""
        return self.paid_on_demand + self.paid_spot

    def pay(self, capacity: Capacity, seconds: float) -> None:
        """Add paid seconds."""
        if capacity is Capacity.SPOT:
            self.paid_spot += seconds
        else:
            self.paid_on_demand += seconds

    @property
    def jobs(self) -> int:
        """The number of jobs that have started."""
        return sum(self.waits.values())

    def wait(self, share: float) -> float:
        """The quantile of the waits, in seconds."""
        seen, jobs = 0, self.jobs
        for seconds in sorted(self.waits):
            seen += self.waits[seconds]
            if seen >= share * jobs:
                return seconds
        return 0.0
