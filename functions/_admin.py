"""The use cases of operators, assembled from their adapters."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from comfyline.service import settings as of
from comfyline.service.clock import Clock
from functions._aws import Aws

if TYPE_CHECKING:
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

    def list_live(
        self, status: Status | None, limit: int, cursor: str | None
    ) -> tuple[list[Job], str | None]:
        """One page of the jobs of all owners that have not ended."""
        from comfyline.service.admin.jobs import list_live

        return list_live(status=status, limit=limit, cursor=cursor, store=self.aws.jobs)
