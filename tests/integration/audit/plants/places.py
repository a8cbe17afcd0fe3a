"""Inconsistencies in places of semaphores."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from comfyline.adapters.aws.attributes import time_of
from comfyline.operate.audit.source import Table
from tests.integration.audit.plants.plant import DAY, HOUR, found_as
from tests.support.audited import (
    Deployed,
)


def _places(d: Deployed, name: str, **places: Any) -> None:
    row = {"pk": {"S": "semaphore"}, "sk": {"S": name}, "places": {"M": places}}
    d.put(Table.OWNERS, row)


def _held_until(end: datetime) -> dict[str, str]:
    return {"S": f"{time_of(end)['N']}/00000000/0"}


@found_as("place", "longer than any function runs")
def place_taken_for_ever(d: Deployed) -> None:
    """A place of the wait room is taken until next year."""
    _places(d, "waits", a=_held_until(d.now + 365 * DAY))


@found_as("place", "no time")
def place_unreadable(d: Deployed) -> None:
    """A place of the wait room has no readable end."""
    _places(d, "waits", a={"S": "soon"})


@found_as("place", "is over", is_leftover=True)
def place_of_a_dead_function(d: Deployed) -> None:
    """A place of the sweeper's lock is left of a function that died."""
    _places(d, "sweep", a=_held_until(d.now - HOUR))


@found_as("owner", "cannot be read")
def semaphore_of_unknown_name(d: Deployed) -> None:
    """There is a room that nothing uses."""
    _places(d, "lobby")
