"""The clock that use cases get as an argument, so that tests can set the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]  # returns the time in UTC, with its time zone
