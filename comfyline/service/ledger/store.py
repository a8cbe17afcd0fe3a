"""The port of the ledger, which counts every ended job once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Protocol

from comfyline.service.jobs.job import Job, Status

if TYPE_CHECKING:
    from comfyline.contract.ids import OwnerId
    from comfyline.service.ledger.failures import FailureGroup
    from comfyline.service.ledger.totals import Totals


# A ledger counts some jobs together, or none of them. A transaction of DynamoDB has at most 100
# items: for each job its note, at worst a row of its owner, and at worst a group of its failure.
_ITEMS_AT_ONCE = 100


def counted_together(ended: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs in parts, each of which a ledger can count together."""
    part, items = list[Job](), 0
    for job in ended:
        more = 3 if job.status is Status.FAILED else 2
        if items + more > _ITEMS_AT_ONCE:
            yield part
            part, items = [], 0
        part.append(job)
        items += more
    if part:
        yield part


@dataclass(frozen=True, slots=True)
class Usage:
    """The GPU time of an owner's ended jobs, and the number of those that used a GPU."""

    gpu_seconds: float = 0.0
    jobs: int = 0


@dataclass(frozen=True, slots=True)
class UsageByMonth:
    """The usage of an owner in all, and in each month in which it has used a GPU."""

    total: Usage
    months: Mapping[str, Usage] = field(default_factory=dict)  # at least the last MONTHS


class Ledger(Protocol):
    """Sums over ended jobs, for each owner and for the whole service."""

    def count(self, ended: Sequence[Job]) -> list[Job]:
        """Count each of these ended jobs, unless an earlier or a concurrent call counts it.

        Returns the jobs that were not counted before. Only jobs that used a GPU are added to the
        usage of their owner, and to that of the month of their end. The jobs that failed are added
        to the group of their failure. Each part that `counted_together` makes is counted together,
        or not at all.

        Raises:
            Unavailable: some jobs may not be counted; the same call may be repeated.
        """

    def usage(self, owner: OwnerId) -> Usage:
        """The usage of one owner."""

    def usage_by_month(self, owner: OwnerId) -> UsageByMonth:
        """The usage of one owner, with its months."""

    def failures(self, days: Sequence[date]) -> list[FailureGroup]:
        """The groups of the failures of these days (UTC), the most frequent first.

        Times are about right, because jobs are not counted in the order of their ends.
        """

    def totals(self) -> Totals:
        """The sums over the jobs of all owners."""
