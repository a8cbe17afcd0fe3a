"""The price list, which cost model, simulation and dashboard read."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

HOURS_A_MONTH = 730
_FILE = Path(__file__).with_name("prices.toml")


@cache
def prices() -> dict[str, Any]:
    """The prices by service, in US dollars."""
    return tomllib.loads(_FILE.read_text())


def gpu_hour(instance_type: str, spot_share: float, *, capacity: str = "managed") -> float:
    """Dollars an hour for one GPU instance in a fleet with that share of spot.

    With its public address, and what comes with the capacity: the fee of Managed Instances, or the
    volume of an Auto Scaling group's instance.

    Raises:
        KeyError: the list lacks the instance type.
    """
    gpu = prices()["gpu"][instance_type]
    mixed: float = spot_share * gpu["spot"] + (1 - spot_share) * gpu["on_demand"]
    address: float = prices()["network"]["public_address_hour"]
    return mixed + address + (_fee(gpu) if capacity == "managed" else _volume_hour())


def _fee(gpu: dict[str, float]) -> float:
    fee_share: float = prices()["managed_instances"]["fee_share"]
    return fee_share * gpu["on_demand"]


def volume_month() -> float:
    """Dollars a month for the volume of one instance of a group, also while it is stopped."""
    ebs = prices()["ebs"]
    throughput = ebs["volume_mib_a_second"] - ebs["free_mib_a_second"]
    return float(ebs["volume_gb"] * ebs["gb_month"] + throughput * ebs["mib_a_second_month"])


def _volume_hour() -> float:
    return volume_month() / HOURS_A_MONTH
