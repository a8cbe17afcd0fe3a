"""The port of the ledger, which counts every ended job once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import OwnerId
    from comfyline.service.jobs.job import Job
    from comfyline.service.ledger.totals import Totals


# Jobs that a ledger counts together or not at all. A transaction of DynamoDB has at most 100 items:
# for each job its note, and at worst a row of its owner.
COUNTED_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Usage:
    """The GPU time of an owner's ended jobs, and the number of those that used a GPU."""

    gpu_seconds: float = 0.0
    jobs: int = 0


class Ledger(Protocol):
    """Sums over ended jobs, for each owner and for the whole service."""

    def count(self, ended: Sequence[Job]) -> list[Job]:
        """Count each of these ended jobs, unless an earlier or a concurrent call counts it.

        Returns the jobs that were not counted before. Only jobs that used a GPU are added to the
        usage of their owner. Up to COUNTED_AT_ONCE jobs are counted together, or none of them.

        Raises:
            Unavailable: some jobs may not be counted; the same call may be repeated.
        """

    def usage(self, owner: OwnerId) -> Usage:
        """The usage of one owner."""

    def totals(self) -> Totals:
        """The sums over the jobs of all owners."""
