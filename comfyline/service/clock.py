"""The time, as a value that is passed in: what asks for it can be told any."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]  # aware, UTC
