"""A process that dies at its n-th call to the outside, for every n."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.support.ports import wrapped

P = TypeVar("P")


class Crash(BaseException):
    """The process died. It is a BaseException, so that the code under test cannot handle it."""


@dataclass(slots=True)
class Process:
    """Counts the calls of all ports that it was given, and dies at call number `dies_at`.

    With `answered`, that call has its effect and only its answer is lost, as when a process dies or
    a connection breaks right after a write.
    """

    dies_at: int
    answered: bool
    calls: int = 0

    def using(self, port: P) -> P:
        """The same port, as this process calls it."""
        return wrapped(port, lambda _name, method, *args, **kw: self.call(method, *args, **kw))

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make the call, or die at it. After its death a process calls nothing."""
        self.calls += 1
        if self.calls < self.dies_at:
            return method(*args, **kwargs)
        if self.calls == self.dies_at and self.answered:
            method(*args, **kwargs)
        raise Crash


def every_crash(run: Callable[[Process], object]) -> Iterator[Process]:
    """Call `run` once for each call it makes, with a process that dies before or right after it.

    `run` starts from a fresh world each time. Yields each process after its death. Ends when a
    process survives, which means that it makes no further calls.
    """
    for answered in (False, True):
        process = Process(1, answered)
        while _died(run, process):
            yield process
            process = Process(process.dies_at + 1, answered)


def _died(run: Callable[[Process], object], process: Process) -> bool:
    try:
        run(process)
    except Crash:
        return True
    return False
