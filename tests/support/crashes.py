"""A process that dies at its n-th call to the outside, for every n."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

P = TypeVar("P")


class Crash(BaseException):
    """The process is gone: no handler of its own may catch this."""


@dataclass(slots=True)
class Process:
    """Counts the calls of every port it was given and dies at one of them.

    With `answered` the call has its effect and only its answer is lost, as when a process dies, or
    a connection breaks, right after the write.
    """

    dies_at: int
    answered: bool
    calls: int = 0

    def using(self, port: P) -> P:
        """The same port, as this process calls it."""
        return cast("P", _Port(port, self))

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make the call, unless it is the one to die before; nothing is called after the death."""
        self.calls += 1
        if self.calls < self.dies_at:
            return method(*args, **kwargs)
        if self.calls == self.dies_at and self.answered:
            method(*args, **kwargs)
        raise Crash


class _Port:
    def __init__(self, port: Any, process: Process) -> None:
        self._port, self._process = port, process

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._port, name)
        return lambda *args, **kwargs: self._process.call(method, *args, **kwargs)


def every_crash(run: Callable[[Process], object]) -> Iterator[Process]:
    """Run it once for each call it makes, dying before and right after that call.

    `run` starts from a fresh world each time. Yields each process after its death; ends, having
    yielded nothing more, when one comes through alive.
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
