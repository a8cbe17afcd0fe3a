"""The alarms of the deployment, as the platform watches them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class AlarmState(StrEnum):
    """Whether an alarm is raised."""

    OK = "ok"
    RAISED = "raised"
    UNKNOWN = "unknown"  # the platform has no data of it yet


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm. `name` is also the anchor of its section in the runbook."""

    name: str
    description: str
    state: AlarmState
    since: datetime  # when the state has changed last


class AlarmSource(Protocol):
    """The platform's alarms."""

    def alarms(self) -> list[Alarm]:
        """Every alarm of the deployment, in any order.

        Raises:
            Unavailable: the platform does not answer.
        """
