"""An account's limit of concurrent calls of Lambda functions, and API Gateway in front of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from infra.concurrency import reserved
from infra.deployment import Deployment
from infra.functions import FUNCTIONS
from tests.scale.pace import Pace
from tests.scale.simulation import Simulation

START = 0.5  # seconds, of a function that must start first
MAX_EVENT_AGE = 60  # seconds, as the deployment configures
WHOLE_CPU = 1769  # MB


class TooManyCalls(Exception):
    """Lambda has refused a call because of the limit."""


@dataclass
class Account:
    """Calls functions within the limit of a deployment's account.

    A function with a reservation has that many calls for itself, and gets no more.
    """

    simulation: Simulation
    deployment: Deployment
    refused: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)  # asynchronous calls that were too old
    waited: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _warm: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        rows = FUNCTIONS.values()
        own = {row.name: calls for row in rows if (calls := reserved(row, self.deployment))}
        self._own = own.keys()
        others = self.deployment.functions.concurrency - sum(own.values())
        self._free = Counter({**own, "": others})

    def call(self, name: str, run: Callable[[Pace], Any]) -> Any:
        """Call the function and wait for it. `run` is called with the pace of its instance.

        Raises:
            TooManyCalls: the limit is reached.
        """
        share = name if name in self._own else ""
        if not self._free[share]:
            self.refused[name] += 1
            raise TooManyCalls(name)
        self._free[share] -= 1
        try:
            self._start(name)
            return run(Pace(self.simulation, cpu=min(1, FUNCTIONS[name].memory / WHOLE_CPU)))
        finally:
            self._free[share] += 1
            self._warm[name] += 1

    def _start(self, name: str) -> None:
        if self._warm[name]:
            self._warm[name] -= 1
        else:
            self.simulation.sleep(START)

    def call_later(self, name: str, run: Callable[[Pace], Any]) -> None:
        """Call it asynchronously: Lambda tries again after 1, 2, 4 ... s, until the call is old."""
        asked, pause = self.simulation.seconds, 1.0
        while self.simulation.seconds < asked + MAX_EVENT_AGE:
            waited = self.simulation.seconds - asked
            try:
                self.call(name, run)
            except TooManyCalls:
                self.simulation.sleep(pause * self.simulation.random.uniform(0.75, 1.25))
                pause *= 2
            else:
                return self.waited[name].append(waited)
        self.dropped[name] += 1
        return None

    def call_from_stream(self, name: str, run: Callable[[Pace], Any]) -> None:
        """Call it with a batch of a stream: Lambda tries again until the call succeeds."""
        while True:
            try:
                return self.call(name, run)
            except TooManyCalls:
                self.simulation.sleep(self.simulation.random.uniform(0.5, 1.5))


@dataclass
class Gateway:
    """The throttle of the HTTP API: so many requests a second, and a burst."""

    simulation: Simulation
    rate: float
    burst: float
    _left: float = field(init=False)
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._left = self.burst

    def accepts(self) -> bool:
        """Whether a request that comes now passes."""
        now = self.simulation.seconds
        self._left, self._at = min(self.burst, self._left + (now - self._at) * self.rate), now
        if self._left < 1:
            return False
        self._left -= 1
        return True
