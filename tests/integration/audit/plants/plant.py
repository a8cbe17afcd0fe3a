"""A planted inconsistency, and which of them `--fix` mends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from tests.support.audited import (
    Deployed,
)

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
YEARS = timedelta(days=3650)


@dataclass(frozen=True)
class Plant:
    """One planted inconsistency, and what the audit says of it."""

    name: str
    what: str
    make: Callable[[Deployed], None]
    kind: str
    says: str
    is_leftover: bool = False
    with_bytes: bool = False


PLANTS: list[Plant] = []
# The plants that `--fix` mends. The others would need a guess.
MENDED = {
    # the event that is due by the clock
    "row_without_due_shard",
    "row_in_wrong_due_shard",
    "row_without_due_time",
    "dead_lease_due_in_an_hour",
    "due_in_a_week",
    "overdue",
    "never_settled",
    "settlement_in_a_year",
    "good_row_in_quarantine",
    # a step of the settlement
    "settled_but_not_counted",
    # removals
    "report_unreadable",
    "request_without_job",
    "request_of_earlier_job",
    "file_without_job",
    "file_not_listed",
    "file_of_an_attempt_that_lost",
    "thumbnail_of_an_attempt_that_lost",
    "slot_of_an_ended_job",
    "slot_of_a_missing_job",
    "slot_of_another_post",
    "subscription_without_socket",
    "subscription_to_missing_job",
    "socket_names_a_job",
    "socket_closed",
    "place_of_a_dead_function",
}


def found_as(
    kind: str, says: str, *, is_leftover: bool = False, with_bytes: bool = False
) -> Callable[[Callable[[Deployed], None]], Callable[[Deployed], None]]:
    """Add the decorated function to the plants."""

    def add(make: Callable[[Deployed], None]) -> Callable[[Deployed], None]:
        name, what = make.__name__, (make.__doc__ or "").strip().rstrip(".")
        PLANTS.append(Plant(name, what, make, kind, says, is_leftover, with_bytes))
        return make

    return add


def n(number: float) -> dict[str, str]:
    """A number as DynamoDB has it."""
    return {"N": str(number)}
