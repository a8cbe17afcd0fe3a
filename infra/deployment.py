"""What one deployment is: the choices that come from outside, checked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

ContextLookup = Callable[[str], Any]  # the value of a context key, None where it is not given

# Queue visibility follows the lease, and SQS takes at most 12 hours of it.
MAX_LEASE_SECONDS = 12 * 3600


class Target(StrEnum):
    """Where the templates go."""

    AWS = "aws"
    LOCAL = "local"  # an emulator on this machine: plain HTTP, nothing worth keeping


# Locally a crash should be seen to heal while one waits; on AWS renewals are paid for.
_DEFAULTS: Mapping[Target, Mapping[str, Any]] = MappingProxyType(
    {
        Target.AWS: {"lease_seconds": 120, "heartbeat_seconds": 30},
        Target.LOCAL: {
            "lease_seconds": 20,
            "heartbeat_seconds": 5,
            "default_checkpoint": "sd15-sim.safetensors",
            "worker_image": "comfyline-worker",  # never pulled: the worker runs as a process
        },
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One environment's choices.

    Raises:
        ValueError: the lease could run out between two heartbeats, or is longer than SQS can hide
            a message.
    """

    env: str
    target: Target
    default_checkpoint: str
    worker_image: str
    lease_seconds: int
    heartbeat_seconds: int

    def __post_init__(self) -> None:
        # Two renewals may fail before a lease is lost.
        if not 0 < self.heartbeat_seconds * 3 < self.lease_seconds <= MAX_LEASE_SECONDS:
            raise ValueError(
                f"lease_seconds={self.lease_seconds} must be more than three times "
                f"heartbeat_seconds={self.heartbeat_seconds} and at most {MAX_LEASE_SECONDS}"
            )

    @property
    def is_local(self) -> bool:
        """Whether an emulator takes the templates."""
        return self.target is Target.LOCAL

    def stack_name(self, part: str) -> str:
        """The name of one of the deployment's stacks."""
        return f"comfyline-{self.env}-{part}"

    @classmethod
    def from_context(cls, lookup: ContextLookup) -> Self:
        """The deployment that the CDK context describes.

        Raises:
            ValueError: a required key is missing or a value is wrong; the message says which.
        """
        target = Target(lookup("target") or Target.AWS)

        def value(key: str) -> str:
            given = lookup(key)
            if given is None:
                given = _DEFAULTS[target].get(key, "")
            if given == "":
                raise ValueError(f"context key {key!r} is required: add -c {key}=<value>")
            return str(given)

        return cls(
            env=lookup("env") or "dev",
            target=target,
            default_checkpoint=value("default_checkpoint"),
            worker_image=value("worker_image"),
            lease_seconds=int(value("lease_seconds")),
            heartbeat_seconds=int(value("heartbeat_seconds")),
        )
