"""The alarms in memory. A test sets them."""

from __future__ import annotations

from comfyline.service.admin.alarms import Alarm


class InMemoryAlarms:
    """`AlarmSource` in memory."""

    def __init__(self) -> None:
        self.all: list[Alarm] = []

    def alarms(self) -> list[Alarm]:
        """See AlarmSource."""
        return list(self.all)
