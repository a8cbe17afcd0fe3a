"""The use cases of operators, assembled from their adapters."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from comfyline.service import settings as of
from comfyline.service.clock import Clock
from functions._aws import Aws

if TYPE_CHECKING:
    from collections import Counter

    from comfyline.contract.ids import OwnerId
    from comfyline.service.access.keys import Flags, Switches
    from comfyline.service.admin.alarms import Alarm
    from comfyline.service.admin.dead_letters import SeenLetters
    from comfyline.service.admin.owners import OwnerReader
    from comfyline.service.admin.queues import Queues
    from comfyline.service.cached import Cached
    from comfyline.service.jobs.job import Job, Status

# SQS's counts are some seconds old anyway, and a look may read a thousand rows.
QUEUES_LIFETIME = timedelta(seconds=3)


class Admin:
    """What an operator sees and does: used as `Wiring.admin`."""

    def __init__(self, aws: Aws, clock: Clock) -> None:
        self.aws = aws
        self.clock = clock

    @cached_property
    def queues(self) -> Cached[Queues]:
        """All queues. Operators who look at the same time share a look."""
        from comfyline.service.admin.queues import QueueReader
        from comfyline.service.cached import Cached

        has_scaler = bool(self.aws.settings(of.WakeSettings).scaling_table)
        reader = QueueReader(
            queue=self.aws.queue,
            store=self.aws.jobs,
            dead_letters=self.aws.dead_letter_backlog,
            parked=self.aws.parked_backlog,
            scaling=self.aws.scaling_memory if has_scaler else None,
            clock=self.clock,
        )
        return Cached(reader.read, QUEUES_LIFETIME, self.clock)

    @cached_property
    def owners(self) -> OwnerReader:
        """Reads owners with their keys and their usage."""
        from comfyline.service.admin.owners import OwnerReader

        aws = self.aws
        return OwnerReader(keys=aws.keys, ledger=aws.ledger, owners=aws.owners, clock=self.clock)

    def list_live(
        self, status: Status | None, limit: int, cursor: str | None
    ) -> tuple[list[Job], str | None]:
        """One page of the jobs of all owners that have not ended."""
        from comfyline.service.admin.jobs import list_live

        return list_live(status=status, limit=limit, cursor=cursor, store=self.aws.jobs)

    def look_at_dead_letters(self) -> SeenLetters:
        """Some tickets of the dead-letter queue, which stay there."""
        from comfyline.service.admin.dead_letters import look

        aws = self.aws
        return look(dead=aws.dead_letters, backlog=aws.dead_letter_backlog, store=aws.jobs)

    def redrive(self) -> Counter[str]:
        """Handle the first tickets of the dead-letter queue; returns how many by outcome."""
        from comfyline.service.admin.dead_letters import REDRIVEN_AT_ONCE
        from comfyline.service.jobs.redrive import redrive

        return redrive(
            dead=self.aws.dead_letters,
            store=self.aws.jobs,
            queue=self.aws.queue,
            clock=self.clock,
            limit=REDRIVEN_AT_ONCE,
        )

    def set_switches(self, asked: Flags, seen: int, by: OwnerId) -> Switches:
        """Set all switches, unless another operator was faster."""
        from comfyline.service.admin.switches import set_switches

        return set_switches(asked, seen=seen, by=by, keys=self.aws.keys, clock=self.clock)

    @property
    def stage(self) -> str:
        """The deployment's stage."""
        return self.aws.settings(of.OperatorSettings).stage

    def alarms(self) -> list[Alarm] | None:
        """The deployment's alarms; None if it has none."""
        has_alarms = bool(self.aws.settings(of.OperatorSettings).alarm_prefix)
        return self.aws.alarms.alarms() if has_alarms else None
