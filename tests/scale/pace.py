"""AWS's pace: ports and clients that take as long as AWS's, and that AWS throttles.

The times are those of a function in the same region. A throttled call is retried as botocore
retries it: up to three tries, with pauses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from botocore.exceptions import ClientError

from comfyline.service.errors import Unavailable
from tests.scale.simulation import Simulation
from tests.support.ports import wrapped

# Seconds of one call.
DYNAMODB, TRANSACTION, S3, SQS, SOCKET = 0.010, 0.025, 0.040, 0.015, 0.020
# What one call takes of the function's CPU, in addition: the SDK's work at one whole vCPU.
SDK_CPU = 0.0015
THROTTLED = 0.02  # the share of calls that AWS throttles at first
MAX_TRIES, PAUSE = 3, 0.1  # of botocore's standard mode

P = TypeVar("P")


@dataclass(slots=True)
class Pace:
    """Makes the ports of one function slow; its threads share one CPU.

    With `is_scaled_out` each call is of another function, with another CPU. `calls` counts the
    calls by name; `throttled` is the share that fails at first; `cpu` is the share of a whole CPU
    that the function has.
    """

    simulation: Simulation
    throttled: float = THROTTLED
    is_scaled_out: bool = False
    cpu: float = 1.0
    calls: Counter[str] = field(default_factory=Counter)
    cpu_is_free_at: float = 0.0

    def of(self, port: P, seconds: float, **of_methods: float) -> P:
        """The same port, at the pace of an AWS service; some methods make several calls."""

        def around(name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            self.take(name, of_methods.get(name, seconds))
            return method(*args, **kwargs)

        return wrapped(port, around)

    def take(self, name: str, seconds: float) -> None:
        """Spend the time of one call.

        Raises:
            Unavailable: AWS has throttled every try.
        """
        self.calls[name] += 1
        for n in range(MAX_TRIES):
            self.compute()
            self.simulation.sleep(seconds * self.simulation.random.uniform(0.7, 1.3))
            if self.simulation.random.random() >= self.throttled:
                return
            self.simulation.sleep(self.simulation.random.uniform(0, PAUSE * 2**n))
        raise Unavailable(f"{name} was throttled")

    def compute(self) -> None:
        """Spend the CPU time of one call; the threads of a function share its CPU."""
        if self.is_scaled_out:
            return self.simulation.sleep(SDK_CPU / self.cpu)
        began = max(self.cpu_is_free_at, self.simulation.seconds)
        self.cpu_is_free_at = began + SDK_CPU / self.cpu
        return self.simulation.sleep(self.cpu_is_free_at - self.simulation.seconds)


class Transactional:
    """A DynamoDB client at AWS's pace, with its conflicts.

    Of two transactions that are on their way and have an item in common, the later one is canceled.
    Clients of the same table share `busy`, the items of the transactions on their way.
    """

    def __init__(self, client: Any, pace: Pace, busy: Counter[str] | None = None) -> None:
        self._client, self._pace = client, pace
        self._busy = Counter[str]() if busy is None else busy
        self.exceptions = client.exceptions
        self.conflicts = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name in ("exceptions", "meta") or not callable(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            self._pace.take(name, DYNAMODB)
            return method(*args, **kwargs)

        return call

    def get_paginator(self, operation: str) -> Any:
        """moto answers at once; one page is one call."""
        self._pace.take(operation, DYNAMODB)
        return self._client.get_paginator(operation)

    def transact_write_items(self, *, TransactItems: Any) -> Any:  # noqa: N803 AWS's own name
        """Write all items or none."""
        items = [_name(action) for action in TransactItems]
        meeting = [item for item in items if self._busy[item]]
        if meeting:
            self.conflicts += 1
            self._pace.take("transact_write_items", DYNAMODB)
            raise self._canceled(items, meeting)
        self._busy.update(items)
        try:
            self._pace.take("transact_write_items", TRANSACTION)
            return self._client.transact_write_items(TransactItems=TransactItems)
        finally:
            self._busy.subtract(items)

    def _canceled(self, items: list[str], meeting: list[str]) -> Exception:
        codes = ["TransactionConflict" if item in meeting else "None" for item in items]
        answer = {
            "Error": {"Code": "TransactionCanceledException", "Message": str(codes)},
            "CancellationReasons": [{"Code": code} for code in codes],
        }
        error: type[ClientError] = self.exceptions.TransactionCanceledException
        return error(cast(Any, answer), "TransactWriteItems")


def _name(action: Any) -> str:
    (write,) = action.values()
    key = write.get("Key") or {name: write["Item"][name] for name in ("pk", "sk")}
    return f"{write['TableName']} {key['pk']['S']} {key['sk']['S']}"
