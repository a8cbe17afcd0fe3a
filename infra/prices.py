"""The price list, which cost model, simulation and dashboard read."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("prices.toml")


@cache
def prices() -> dict[str, Any]:
    """The prices by service, in US dollars."""
    return tomllib.loads(_FILE.read_text())


def gpu_hour(instance_type: str, spot_share: float) -> float:
    """Dollars an hour for one GPU instance in a fleet with that share of spot, fees included.

    Raises:
        KeyError: the list lacks the instance type.
    """
    gpu = prices()["gpu"][instance_type]
    mixed: float = spot_share * gpu["spot"] + (1 - spot_share) * gpu["on_demand"]
    fee: float = prices()["managed_instances"]["fee_share"] * gpu["on_demand"]
    return mixed + fee
