"""The table of a run: the question, the load, the measurement and the bound."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: it holds if it is at most `bound`, or at least it if `is_minimum`."""

    load: str
    what: str
    measured: float
    bound: float
    unit: str
    is_minimum: bool = False

    @property
    def holds(self) -> bool:
        if self.is_minimum:
            return self.measured >= self.bound
        return self.measured <= self.bound


class Report:
    """Collects the rows of all tests; printed at the end of the run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def check(self, *rows: Row) -> None:
        """Keep the rows, and fail if one of them does not hold."""
        self.rows += rows
        broken = [
            f"{row.load}: {row.what} {row.measured:g} {row.unit}" for row in rows if not row.holds
        ]
        assert not broken, broken

    def lines(self) -> list[str]:
        """The table as text."""
        return [
            f"{row.load:58} {row.what:44} {row.measured:10.1f} "
            f"{'>=' if row.is_minimum else '<='} {row.bound:g} {row.unit}"
            f"{'' if row.holds else '   BREAKS'}"
            for row in self.rows
        ]
