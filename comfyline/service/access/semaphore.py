"""Semaphores: limits on how many functions do something at once, such as wait for a job's end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import OwnerId


@dataclass(frozen=True, slots=True)
class Share:
    """What one owner may hold: `places` of them, and one for each thing, such as a job."""

    owner: OwnerId
    thing: str
    places: int


class Semaphore(Protocol):
    """A number of places, each held by one function for a short time."""

    def enter(
        self, limit: int, *, now: datetime, until: datetime, share: Share | None = None
    ) -> str | None:
        """Take one of `limit` places; None if all are taken, or if the owner has its share.

        Also None if the owner holds a place for the same thing. Two calls at once may still both
        get one, within the share. The place expires at `until`, so that a function that dies does
        not keep it.
        """

    def leave(self, place: str) -> None:
        """Free a place that `enter` returned. Does nothing if the place is free already."""
