"""What the fleet is made of, and how many workers it may have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from infra.context import Context

# The default quota of ECS for the tasks of one service; more GPUs are several environments.
MAX_WORKERS = 5000
# One task fills an instance: what has more GPUs would be kept by a single task.
_INSTANCE_TYPE = re.compile(r"[a-z0-9]+\.(x|2x|4x|8x|16x)?large")
_DAY = "(mon|tue|wed|thu|fri|sat|sun)"
_WARM_HOURS = re.compile(rf"{_DAY}-{_DAY} ([01]\d|2[0-3])-([01]\d|2[0-4])")

FLEET_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "capacity": "managed",
        "instance_types": "g6.xlarge,g5.xlarge",
        "spot_percent": 80,
        "min_workers": 0,
        "max_workers": 10,
        "warm_workers": 0,
        "warm_hours": "",
        "job_seconds": 10,
        "target_wait_seconds": 120,
        "boot_seconds": 180,
        "quiet_seconds": 180,
    }
)


class Capacity(StrEnum):
    """Who runs the instances."""

    MANAGED = "managed"  # ECS Managed Instances
    ASG = "asg"  # an Auto Scaling group, for an image of one's own


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetChoices:
    """Instances, and the limits of their number.

    Raises:
        ValueError: limits that contradict each other, or an instance type that is none.
    """

    capacity: Capacity
    instance_types: tuple[str, ...]
    spot_percent: int
    min_workers: int
    max_workers: int
    warm_workers: int
    warm_hours: str
    job_seconds: int
    target_wait_seconds: int
    boot_seconds: int
    quiet_seconds: int

    def __post_init__(self) -> None:
        wrong = [t for t in self.instance_types if not _INSTANCE_TYPE.fullmatch(t)]
        if wrong or not self.instance_types:
            raise ValueError(
                f"context key 'instance_types' is wrong: {', '.join(wrong) or 'empty'}"
            )
        if max(self.min_workers, self.warm_workers) > self.max_workers:
            raise ValueError("context keys 'min_workers' and 'warm_workers' exceed 'max_workers'")
        if self.warm_hours and not _WARM_HOURS.fullmatch(self.warm_hours):
            raise ValueError("context key 'warm_hours' is like `mon-fri 07-18`")
        if bool(self.warm_workers) != bool(self.warm_hours):
            raise ValueError("context keys 'warm_workers' and 'warm_hours' go together")

    @classmethod
    def from_context(cls, context: Context) -> Self:
        """The fleet that the context describes.

        Raises:
            ValueError: naming the key that is wrong.
        """
        return cls(
            capacity=Capacity(context.choice("capacity", *Capacity)),
            instance_types=context.items("instance_types"),
            spot_percent=context.number("spot_percent", 0, 100),
            min_workers=context.number("min_workers", 0, MAX_WORKERS),
            max_workers=context.number("max_workers", 0, MAX_WORKERS),
            warm_workers=context.number("warm_workers", 0, MAX_WORKERS),
            warm_hours=context.optional("warm_hours") or "",
            job_seconds=context.number("job_seconds", 1, 6 * 3600),
            target_wait_seconds=context.number("target_wait_seconds", 1, 24 * 3600),
            boot_seconds=context.number("boot_seconds", 1, 3600),
            quiet_seconds=context.number("quiet_seconds", 0, 24 * 3600),
        )
