"""What the client does, apart from how it waits.

Rule: everything that the client decides is in generators that yield what they need of the world,
one effect at a time, and are sent its answer, or have its error raised where they wait. They know
neither threads nor an event loop. `shells.py` performs the effects, once blocking and once not.

A flow holds at most one socket and one download at a time; its shell closes what it leaves open.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request; its answer is the response, read."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)  # as httpx takes them


@dataclass(frozen=True, slots=True)
class Pause:
    """Let so many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """Open a WebSocket; raises SocketLost."""

    url: str
    headers: Mapping[str, str]
    open_seconds: float
    close_seconds: float


@dataclass(frozen=True, slots=True)
class Say:
    """Send a text on the socket; raises SocketLost."""

    text: str


@dataclass(frozen=True, slots=True)
class Hear:
    """The next message of the socket, or None after so many seconds; raises SocketLost."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Close the socket, if it is open."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Begin to download; the answer is the response's head, unread."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NextChunk:
    """The next bytes of the download, as they travel; empty at its end."""


@dataclass(frozen=True, slots=True)
class EndFetch:
    """Close the download, if one is open."""


@dataclass(frozen=True, slots=True)
class Together:
    """Run flows side by side, so many at once; the answer is their results, in order."""

    flows: Sequence[Flow[Any]]
    at_once: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Hand a value to whoever iterates."""

    value: Any


Effect = (
    Call
    | Pause
    | OpenSocket
    | Say
    | Hear
    | CloseSocket
    | Fetch
    | NextChunk
    | EndFetch
    | Together
    | Tell
)
Flow = Generator[Effect, Any, T]


class SocketLost(Exception):
    """The socket could not be opened, or has broken; also a refused handshake."""


class Steps(Generic[T]):
    """A flow as a shell walks it: take an effect, then `answer` it or `fail` it."""

    def __init__(self, flow: Flow[T]) -> None:
        self._flow = flow
        self._go_on = partial(next, flow)
        self.result: Any = None

    def __iter__(self) -> Iterator[Effect]:
        return self

    def __next__(self) -> Effect:
        try:
            effect: Effect = self._go_on()
        except StopIteration as end:
            self.result = end.value
            raise
        self.answer(None)
        return effect

    def answer(self, value: Any) -> None:
        """What the effect has brought."""
        self._go_on = partial(self._flow.send, value)

    def fail(self, error: Exception) -> None:
        """What it has raised."""
        self._go_on = partial(self._flow.throw, error)
