"""Jobs are simulated in groups: jobs of one tick with the same GPU time start and end together."""

from __future__ import annotations

from dataclasses import dataclass, field

from comfyline.service.jobs.due import (
    MAX_TICKET_GRACE,
    MAX_TICKET_GRACE_STEPS,
    TICKET_GRACE,
    TICKET_GRACE_FACTOR,
)


@dataclass(slots=True)
class Group:
    """Jobs that arrived at one moment and need the GPU for the same seconds."""

    arrived: float
    seconds: float
    count: int
    again: bool = False  # whether it started before and was interrupted
    looks: int = 0  # of the sweeper, while it waits
    due_at: float = field(init=False)  # when the sweeper looks at it next

    def __post_init__(self) -> None:
        self.due_at = self.arrived + next_look(0)


def next_look(looks: int) -> float:
    """The seconds until the sweeper looks at a job again, as `due.if_ticket_is_lost` has it."""
    factor = int(TICKET_GRACE_FACTOR ** min(looks, MAX_TICKET_GRACE_STEPS))
    return min(TICKET_GRACE * factor, MAX_TICKET_GRACE).total_seconds()
