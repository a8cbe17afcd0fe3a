from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.live.world import FollowedWorld


@pytest.fixture
def world() -> Iterator[FollowedWorld]:
    with ThreadPoolExecutor(4) as executor:
        yield FollowedWorld(executor)
