"""The workers: how many there should be, and which are up by their own word, while it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import WorkerId
    from comfyline.service.fleet.scaling import Need


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker that is up: how many jobs its GPU runs, and until when that is taken for true."""

    worker_id: WorkerId
    running: int
    until: datetime


class Attendance(Protocol):
    """Which workers are up, by what they say of themselves."""

    def note(self, presence: Presence) -> None:
        """Remember it in place of what that worker said before."""

    def present(self, now: datetime) -> list[Presence]:
        """Every worker whose word still holds; read consistently."""


@dataclass(frozen=True, slots=True)
class FleetSize:
    """The workers that should be, and those that are up."""

    desired: int
    running: int


class Fleet(Protocol):
    """The workers, as their platform sees them."""

    def size(self) -> FleetSize:
        """How many there are."""

    def resize(self, workers: int) -> None:
        """Ask for that many; protected ones stay until they are done."""


@dataclass(frozen=True, slots=True)
class Recent:
    """What the scaler remembers; `version` is 0 before it has ever remembered anything."""

    needs: tuple[Need, ...] = ()
    version: int = 0


class ScalingMemory(Protocol):
    """What the scaler needs to know the next time. Reads are consistent."""

    def load(self) -> Recent:
        """What was saved last."""

    def save(self, needs: Sequence[Need], version: int) -> bool:
        """Replace what has that version; False if another round of the scaler was faster."""
