"""What an audit reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

# A report holds at most so many findings, and as many leftovers. The others are only counted, so
# that a deployment with a million faults needs no more memory than one with this many.
MAX_REPORTED = 10_000


class Fix(StrEnum):
    """How `--fix` mends a finding: by an event of the lifecycle, or by removing an unused thing."""

    SWEEP = "sweep"  # apply the event that is due by the clock, or settle the ended job
    COUNT = "count"  # count the ended job in the ledger
    DELETE_ITEM = "delete_item"
    DELETE_FILE = "delete_file"
    DELETE_REPORT = "delete_report"  # of a worker, which reports again within a minute
    FREE_SLOT = "free_slot"
    CLOSE_SOCKET = "close_socket"
    UNSUBSCRIBE = "unsubscribe"
    LEAVE_PLACE = "leave_place"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong, or a leftover."""

    kind: str
    subject: str  # the id or key of the thing
    message: str
    is_leftover: bool = False
    fix: Fix | None = None
    target: tuple[str, ...] = ()  # what the fix needs to find the thing

    def __str__(self) -> str:
        return f"{self.message} (leftover)" if self.is_leftover else self.message


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an audit. `counts` holds the number of things of each kind."""

    findings: Sequence[Finding]
    leftovers: Sequence[Finding]
    counts: Mapping[str, int]
    more_findings: int = 0  # beyond MAX_REPORTED
    more_leftovers: int = 0
    fixed: Sequence[Finding] = ()

    def is_clean(self, *, strict: bool) -> bool:
        """Whether there are no findings and, if `strict`, no leftovers either."""
        return not self.findings and not (strict and self.leftovers)


@dataclass
class Findings:
    """Collects findings, each once."""

    _kept: dict[bool, set[Finding]] = field(default_factory=lambda: {True: set(), False: set()})
    _more: Counter[bool] = field(default_factory=Counter)

    def add(self, found: Iterable[Finding]) -> None:
        """Keep the findings, up to MAX_REPORTED."""
        for finding in found:
            kept = self._kept[finding.is_leftover]
            if len(kept) < MAX_REPORTED:
                kept.add(finding)
            elif finding not in kept:
                self._more[finding.is_leftover] += 1

    def report(self, counts: Mapping[str, int]) -> Report:
        """Findings and leftovers are sorted by kind and subject."""
        return Report(
            findings=sorted(self._kept[False], key=_place),
            leftovers=sorted(self._kept[True], key=_place),
            counts=counts,
            more_findings=self._more[False],
            more_leftovers=self._more[True],
        )


def _place(finding: Finding) -> tuple[str, ...]:
    return finding.kind, finding.subject, finding.message
