"""Ports that fail on demand, for one worker only: other workers use the same ports undisturbed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from comfyline.service.errors import Unavailable
from tests.support.ports import wrapped

P = TypeVar("P")


@dataclass(slots=True)
class Line:
    """One worker's connection to AWS.

    A cut line fails every call from then on, as after kill -9. A noisy line sometimes loses a call,
    or only its answer.
    """

    luck: random.Random
    noise: float = 0.0  # the share of calls that fail
    is_cut: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def using(self, port: P) -> P:
        """The port, called through this line."""
        return wrapped(port, lambda _name, method, *args, **kw: self.call(method, *args, **kw))

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make the call, or fail before or after the call."""
        with self._lock:
            fails, answered = self.luck.random() < self.noise, self.luck.random() < 0.5
        if self.is_cut or (fails and not answered):
            raise Unavailable("the line is down")
        answer = method(*args, **kwargs)
        if self.is_cut or fails:
            raise Unavailable("the answer was lost")
        return answer
