"""The use cases that accept jobs, assembled from their adapters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from comfyline.service import settings as of
from comfyline.service.clock import Clock
from functions._aws import Aws

if TYPE_CHECKING:
    from comfyline.service.graphs.lock import EngineLock
    from comfyline.service.graphs.published_nodes import PublishedNodes
    from comfyline.service.intake.admit import Admission
    from comfyline.service.intake.resolve_assets import AssetResolver
    from comfyline.service.intake.submit import Defaults, Submitter
    from comfyline.service.intake.wait import WaitRoom
    from comfyline.service.jobs.job import Job
    from functions._files import Files


class Intake:
    """Accepts jobs: used as `Wiring.intake`. `settle` does what is left to do for an ended job."""

    def __init__(
        self,
        aws: Aws,
        clock: Clock,
        *,
        files: Files,
        settle: Callable[[Job], Job],
        lock_file: Path,
        sleep: Callable[[float], None],
    ) -> None:
        self.aws = aws
        self.clock = clock
        self._files = files
        self._settle = settle
        self._lock_file = lock_file
        self._sleep = sleep

    @cached_property
    def submitter(self) -> Submitter:
        """Accepts jobs and retries."""
        from comfyline.service.intake.accept import Acceptance
        from comfyline.service.intake.submit import Submitter

        acceptance = Acceptance(
            store=self.aws.jobs,
            queue=self.aws.queue,
            uploads=self.aws.uploads,
            admission=self.admission,
            allowances=self.aws.allowances,
            settle=self._settle,
            clock=self.clock,
            nodes=self._nodes.get,
        )
        return Submitter(
            acceptance=acceptance,
            store=self.aws.jobs,
            metrics=self.aws.metrics,
            clock=self.clock,
            defaults=self._defaults,
            catalogue=self.lock.catalogue,
            nodes=self._nodes.get,
        )

    @cached_property
    def _nodes(self) -> PublishedNodes:
        from comfyline.service.graphs.published_nodes import PublishedNodes

        version = self.aws.settings(of.EngineSettings).engine_version
        return PublishedNodes(self.aws.engine_nodes, version, self.clock)

    @property
    def _defaults(self) -> Defaults:
        from comfyline.service.intake.submit import Defaults

        known = self.aws.settings(of.JobDefaults)
        return Defaults(
            checkpoint=self.lock.default_checkpoint,
            start_deadline=timedelta(seconds=known.start_deadline_seconds),
            execution_timeout=timedelta(seconds=known.execution_timeout_seconds),
            retention=timedelta(seconds=known.retention_seconds),
        )

    @cached_property
    def admission(self) -> Admission:
        """Takes and frees the slots of owners."""
        from comfyline.service.intake.admit import Admission

        return Admission(owners=self.aws.owners, jobs=self.aws.jobs, clock=self.clock)

    @cached_property
    def wait_room(self) -> WaitRoom:
        """Waits for the end of a job that was just posted."""
        from comfyline.service.intake.wait import WaitRoom

        return WaitRoom(
            jobs=self.aws.jobs,
            places=self.aws.wait_places,
            clock=self.clock,
            max_waits=self.aws.settings(of.WaitSettings).max_waits,
            sleep=self._sleep,
        )

    @cached_property
    def lock(self) -> EngineLock:
        """What the engine of this deployment has: the workers are built from the same lock."""
        from comfyline.service.graphs.lock import EngineLock

        return EngineLock.parse(self._lock_file.read_text())

    @cached_property
    def asset_resolver(self) -> AssetResolver:
        """Finds the files that a graph names as assets."""
        from comfyline.service.intake.resolve_assets import AssetResolver

        return AssetResolver(
            assets=self._files.assets,
            uploads=self.aws.uploads,
            jobs=self.aws.jobs,
            clock=self.clock,
            nodes=self._nodes.get,
        )
