"""One round of the sweeper: what it handles side by side, until when, and with which outcomes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import Protocol, TypeVar

from comfyline.contract.ids import JobId
from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, TransitionRefused, Unavailable, Unreadable
from comfyline.service.jobs.store import Conflict

BROKEN = "Broken"  # the outcome of unexpected errors

_log = logging.getLogger(__name__)

Outcomes = Iterator[Counter[str]]  # of tasks that are still running


class _HasId(Protocol):
    @property
    def id(self) -> JobId: ...


_Row = TypeVar("_Row", bound=_HasId)


class Round:
    """Counts the outcomes of one round, and starts nothing more when its time is over."""

    def __init__(self, clock: Clock, executor: Executor, ends_at: datetime) -> None:
        self._clock, self._executor, self._ends_at = clock, executor, ends_at
        self.outcomes: Counter[str] = Counter()

    def start(self, handle: Callable[[_Row], str], jobs: Iterable[_Row]) -> Outcomes:
        """Handle the jobs or rows side by side, each alone, in this order."""
        return self.start_groups(lambda jobs: Counter([handle(jobs[0])]), [*jobs], 1)

    def start_groups(
        self, handle: Callable[[Sequence[_Row]], Counter[str]], jobs: Sequence[_Row], size: int
    ) -> Outcomes:
        """Handle groups of at most `size` jobs or rows side by side, in this order."""
        groups = (jobs[start : start + size] for start in range(0, len(jobs), size))
        return self._executor.map(lambda group: self.handle(handle, group), groups)

    def finish(self, started: Outcomes) -> None:
        """Wait for the tasks, and count their outcomes."""
        for outcome in started:
            self.outcomes += outcome

    def handle(
        self, handle: Callable[[Sequence[_Row]], Counter[str]], jobs: Sequence[_Row]
    ) -> Counter[str]:
        """Handle one group, unless the time is over."""
        if self._clock() >= self._ends_at:
            return Counter({"OutOfTime": len(jobs)})
        return self.guard(handle, jobs)

    def guard(
        self, handle: Callable[[Sequence[_Row]], Counter[str]], jobs: Sequence[_Row]
    ) -> Counter[str]:
        """Handle one group; an error is its outcome."""
        try:
            return handle(jobs)
        except (Conflict, JobNotFound, TransitionRefused):
            return Counter({"ChangedMeanwhile": len(jobs)})  # that change has set a new due time
        except Exception as error:  # noqa: BLE001 the others are handled; these come again
            extra = {"action": "sweep_failed", "job_id": jobs[0].id, "jobs": len(jobs)}
            _log.exception("jobs not swept", extra=extra)
            return Counter({outcome_of(error): len(jobs)})


def outcome_of(error: Exception) -> str:
    """The outcome of work that an error has ended."""
    return type(error).__name__ if isinstance(error, (Unavailable, Unreadable)) else BROKEN
