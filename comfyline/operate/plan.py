"""The part of a deployment file that the preflight needs."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# With these roles ECS, spot, Managed Instances and Auto Scaling act in the account. AWS makes a
# role at its first use, and that use may fail because the role is too new.
ROLES = {
    "AWSServiceRoleForECS": "ecs.amazonaws.com",
    "AWSServiceRoleForEC2Spot": "spot.amazonaws.com",
    "AWSServiceRoleForECSCompute": "ecs-compute.amazonaws.com",
    "AWSServiceRoleForAutoScaling": "autoscaling.amazonaws.com",
}

# With fewer calls at once, Lambda cannot reserve those of authorizers, settlement, sweeper and
# scaler: the same as in infra/sections/requests.py.
MIN_TO_RESERVE = 214


@dataclass(frozen=True, slots=True)
class Plan:
    """What the preflight needs of a deployment file, with the same defaults."""

    image: str = ""
    instance_types: tuple[str, ...] = ("g6.xlarge", "g5.xlarge")
    zones: tuple[str, ...] = ()
    capacity: str = "managed"
    max_workers: int = 10
    ondemand_workers: int = 1
    concurrency: int = 10
    reserve: bool | None = None
    key_arn: str | None = None
    stage: str = ""
    edge_domain: str | None = None
    edge_certificate: str = ""
    edge_secret_version: int = 1
    has_web_acl: bool = False

    @classmethod
    def read(cls, path: Path) -> Plan:
        """The plan of a deployment file, which `cdk synth` checks in full.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not TOML.
        """
        file = tomllib.loads(path.read_text())
        fleet, scaling = file.get("fleet", {}), file.get("scaling", {})
        edge = file.get("edge", {})
        found: dict[str, Any] = {
            "image": file.get("worker", {}).get("image"),
            "instance_types": fleet.get("instance_types"),
            "zones": fleet.get("zones"),
            "capacity": fleet.get("capacity"),
            "max_workers": scaling.get("max_workers"),
            "ondemand_workers": scaling.get("ondemand_workers"),
            "key_arn": file.get("encryption", {}).get("key_arn"),
            "concurrency": file.get("functions", {}).get("concurrency"),
            "reserve": file.get("functions", {}).get("reserve"),
            "stage": file.get("stage", path.stem),
            "edge_domain": edge.get("domain"),
            "edge_certificate": edge.get("certificate_arn"),
            "edge_secret_version": edge.get("secret_version"),
            "has_web_acl": edge.get("web_acl"),
        }
        given = {name: value for name, value in found.items() if value is not None}
        lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
        return cls(**{**given, **lists})

    @property
    def reserves(self) -> bool:
        """Whether functions without which nothing works have calls of their own."""
        return self.concurrency >= MIN_TO_RESERVE if self.reserve is None else self.reserve

    @property
    def spot_workers(self) -> int:
        """The most workers that may be spot."""
        return max(0, self.max_workers - self.ondemand_workers)

    @property
    def roles(self) -> list[str]:
        """The service-linked roles that the deployment needs."""
        by_capacity = "Compute" if self.capacity == "managed" else "AutoScaling"
        spot = "EC2Spot" if self.spot_workers else ""
        wanted = ("ForECS", spot, by_capacity)
        return [role for role in ROLES if role.endswith(tuple(filter(None, wanted)))]
