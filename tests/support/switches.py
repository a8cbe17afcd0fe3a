"""Ports that misbehave on demand: one worker's view of a world that others see undisturbed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from comfyline.service.errors import Unavailable

P = TypeVar("P")


@dataclass(slots=True)
class Line:
    """One worker's line to the outside. A cut line lets nothing through ever again, as after
    kill -9; a noisy one now and then loses a call, or only its answer.
    """

    luck: random.Random
    noise: float = 0.0  # the share of calls that fail
    is_cut: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def using(self, port: P) -> P:
        """The port at the other end."""
        return cast("P", _Port(port, self))

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make the call, or fail before or after it."""
        with self._lock:
            fails, answered = self.luck.random() < self.noise, self.luck.random() < 0.5
        if self.is_cut or (fails and not answered):
            raise Unavailable("the line is down")
        answer = method(*args, **kwargs)
        if self.is_cut or fails:
            raise Unavailable("the answer was lost")
        return answer


class _Port:
    def __init__(self, port: Any, line: Line) -> None:
        self._port, self._line = port, line

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._port, name)
        return lambda *args, **kwargs: self._line.call(method, *args, **kwargs)
