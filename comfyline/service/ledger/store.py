"""What ended jobs come to. A job counts once, however often and by whomever it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import OwnerId
    from comfyline.service.jobs.job import Job
    from comfyline.service.ledger.totals import Totals


@dataclass(frozen=True, slots=True)
class Usage:
    """What an owner's jobs have used, of those that have ended."""

    gpu_seconds: float = 0.0
    jobs: int = 0


class Ledger(Protocol):
    """What ended jobs come to, for their owners and for the whole service."""

    def count(self, ended: Sequence[Job]) -> list[Job]:
        """Count ended jobs, each once however often and by however many it is told.

        Returns those that were new. In an owner's usage are those that used a GPU.

        Raises:
            Unavailable: some may not be counted; the same call may be made again.
        """

    def usage(self, owner: OwnerId) -> Usage:
        """What the owner's jobs have used."""

    def totals(self) -> Totals:
        """Of all jobs."""
