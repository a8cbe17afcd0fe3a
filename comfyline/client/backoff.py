"""How long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential with full jitter, so that clients cut off together do not come back together.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    base_seconds: float = 0.5
    cap_seconds: float = 8.0

    def seconds(self, failures: int) -> float:
        """A random wait after that many failures in a row (at least 1)."""
        # Beyond 2**30 the cap has long decided; a float must not overflow after a night offline.
        most = min(self.cap_seconds, self.base_seconds * 2 ** min(failures - 1, 30))
        return random.uniform(0, most)
