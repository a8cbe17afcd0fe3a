from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway, functions_on_moto
from tests.support.worker_by_hand import Worker


@pytest.fixture
def clock() -> FrozenClock:
    """The clock of the functions."""
    return FrozenClock()


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, clock: FrozenClock) -> Iterator[Gateway]:
    """The HTTP API on an empty AWS."""
    with functions_on_moto(monkeypatch, clock) as gateway:
        yield gateway


@pytest.fixture
def worker(gateway: Gateway) -> Worker:
    """A worker that ends one job at a time, on the same AWS."""
    return Worker(gateway)
