"""Pauses between the tries of a write that others were in the way of."""

from __future__ import annotations

import random
from collections.abc import Iterator


def jittered(first: float, longest: float, tries: int) -> Iterator[float]:
    """The seconds to pause after each try but the last.

    Each is drawn between 0 and a bound that doubles from `first` to `longest` (full jitter), so
    that writers that met once do not meet again.
    """
    for n in range(tries - 1):
        yield random.uniform(0, min(longest, first * 2**n))
