"""Ports that fail on demand, for one worker only: other workers use the same ports undisturbed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from comfyline.service.errors import Unavailable
from gpu_worker.aws_clock import AwsClock
from tests.support.builders import now
from tests.support.ports import wrapped

P = TypeVar("P")

SIGNATURE_HOLDS = timedelta(minutes=5)  # before and after the time of AWS


@dataclass(slots=True)
class Line:
    """One worker's connection to AWS.

    A cut line fails every call from then on, as after kill -9. A noisy line sometimes loses a call,
    or only its answer. AWS refuses a call that is signed more than 5 minutes off. Each answer has
    its `Date`, also that of a refusal.
    """

    luck: random.Random
    clock: AwsClock
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
        sent_at, is_off = time.monotonic(), abs(self.clock() - now()) > SIGNATURE_HOLDS
        try:
            if is_off:
                raise Unavailable("the signature has expired")
            answer = method(*args, **kwargs)
        finally:
            self.clock.heard(now().replace(microsecond=0), sent_at)
        if self.is_cut or fails:
            raise Unavailable("the answer was lost")
        return answer
