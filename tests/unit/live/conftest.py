from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.live.world import World


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(4) as executor:
        yield World(executor)
