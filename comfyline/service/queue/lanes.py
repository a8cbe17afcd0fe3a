"""The lanes: one queue of tickets for each priority."""

from __future__ import annotations

from enum import StrEnum


class Priority(StrEnum):
    """The lane that a job's ticket waits in."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
