"""A value that is read again only after a while."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.service.cached import Cached
from comfyline.service.errors import Unavailable
from tests.support.builders import FrozenClock

SECOND = timedelta(seconds=1)


class Reads:
    """Counts its calls; `fails` lets the next one fail."""

    calls, fails = 0, False

    def __call__(self) -> int:
        if self.fails:
            raise Unavailable("throttled")
        self.calls += 1
        return self.calls


def test_is_read_once_in_its_lifetime() -> None:
    clock, reads = FrozenClock(), Reads()
    recent = Cached(reads, 3 * SECOND, clock)
    assert [recent(), recent()] == [1, 1]
    clock.advance(3 * SECOND - timedelta.resolution)
    assert recent() == 1
    clock.advance(timedelta.resolution)
    assert [recent(), recent()] == [2, 2]


def test_an_error_is_raised_and_not_kept() -> None:
    reads = Reads()
    recent = Cached(reads, 3 * SECOND, FrozenClock())
    reads.fails = True
    with pytest.raises(Unavailable):
        recent()
    reads.fails = False
    assert recent() == 1


def test_a_clock_that_was_set_back_does_not_keep_a_value_for_long() -> None:
    clock, reads = FrozenClock(), Reads()
    recent = Cached(reads, 3 * SECOND, clock)
    recent()
    clock.now -= timedelta(hours=1)
    assert recent() == 2
