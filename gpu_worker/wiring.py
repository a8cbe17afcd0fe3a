"""The worker's composition root: it assembles each use case from its adapters, which `aws` has."""

from __future__ import annotations

import asyncio
import logging
import shlex
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from comfyline.contract.ids import random_worker_id
from comfyline.service.clock import Clock, utc_now
from comfyline.service.fleet.workers import WorkerFacts
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.intake.admit import Admission
from comfyline.service.jobs.claim import Terms
from comfyline.service.jobs.finish import Finisher
from comfyline.service.settings import WorkerSettings
from gpu_worker.aws import Aws
from gpu_worker.aws_clock import AwsClock
from gpu_worker.collector import Collector
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import ForeignEngine, Keeper
from gpu_worker.comfy.watchdog import Patience
from gpu_worker.confinement import can_confine
from gpu_worker.disk import Disk
from gpu_worker.ecs import (
    METADATA_URL,
    EcsTaskProtection,
    SpotNotices,
    client_of,
    task_metadata,
)
from gpu_worker.engine_files import EngineFiles, OverHttp, SharedFolders
from gpu_worker.facts import learned_facts
from gpu_worker.health import Health
from gpu_worker.health import Patience as HealthPatience
from gpu_worker.heartbeat import Heartbeat
from gpu_worker.inputs import Inputs
from gpu_worker.memory import available_bytes
from gpu_worker.models.folder import ModelFolder
from gpu_worker.models.loading import Loading
from gpu_worker.node_report import publish_for_ever
from gpu_worker.notice import drain_on_notice
from gpu_worker.prepare import Preparation
from gpu_worker.presence import Activity, reported_presence
from gpu_worker.probe import WorkerProbe
from gpu_worker.protection import FleetUnreachable, Protection
from gpu_worker.racing import background
from gpu_worker.supervisor import EngineProcess, Policy
from gpu_worker.thumbnails import Thumbnails
from gpu_worker.toolbox import Toolbox
from gpu_worker.turnstile import Turnstile
from gpu_worker.worker import Worker
from gpu_worker.workspace import OWNED, Workspace

# CloudWatch's finest period is a minute, so a worker need not write its metrics more often.
FLUSH_SECONDS = 60.0
# The engine may use this part of the container's memory. The rest is for the worker, and for what
# the engine allocates between two readings of its memory.
ENGINE_SHARE = 0.85

_log = logging.getLogger(__name__)


class Wiring:
    """The objects of one worker process. Each is made when it is first used."""

    def __init__(self, environ: Mapping[str, str], clock: Clock = utc_now) -> None:
        """
        Raises:
            WrongEnvironment: an environment variable is missing or wrong.
        """
        self.settings = WorkerSettings.from_environment(environ)
        self.worker_id = random_worker_id()
        self._environ, self.clock = environ, AwsClock(clock)
        self.aws = Aws(environ, self.settings, self.clock)

    # --- what lasts as long as a block -----------------------------------------------------------

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[ComfyEngine]:
        """The engine, with its process if this worker starts it."""
        patience = Patience(silent=self.settings.engine_silent_seconds)
        async with (
            self._keeper() as keeper,
            ComfyEngine.connected(
                self.settings.comfyui_url,
                keeper,
                patience,
                follows_queued=self.settings.follow_queued_prompts,
            ) as engine,
        ):
            yield engine

    @asynccontextmanager
    async def _keeper(self) -> AsyncIterator[Keeper]:
        settings = self.settings
        if settings.comfyui_command is None:
            # Only one worker can own the engine's folders, so every other prompt in an engine with
            # shared folders is of an earlier worker, and would mix its files with those of a job.
            yield ForeignEngine(has_other_workers=settings.comfyui_directory is None)
            return
        if not settings.engine_egress and not can_confine():
            _log.warning("engine not confined", extra={"action": "engine_not_confined"})
        engine = EngineProcess(
            shlex.split(settings.comfyui_command),
            Path(settings.comfyui_directory or "."),
            environ=self._environ,
            metrics=self.aws.metrics,
            user=settings.comfyui_user,
            policy=Policy(
                max_prompts=settings.engine_max_prompts,
                may_connect=bool(settings.engine_egress),
                max_memory_bytes=_bytes(settings.engine_max_memory_mib),
                memory_limit_bytes=_bytes(settings.engine_memory_limit_mib)
                or int(ENGINE_SHARE * available_bytes()),
            ),
        )
        async with engine.kept():
            yield engine

    @asynccontextmanager
    async def fleet(self, drain: asyncio.Event) -> AsyncIterator[Protection | None]:
        """The task's protection, while spot notices set `drain`; None outside ECS."""
        if self.settings.ecs_agent_uri is None:
            yield None
            return
        async with (
            client_of(self.settings.ecs_agent_uri) as agent,
            client_of(METADATA_URL) as metadata,
            background(drain_on_notice(SpotNotices(metadata).is_leaving, drain)),
        ):
            yield EcsTaskProtection(agent)

    def activity(self, engine: ComfyEngine, health: Health) -> Activity:
        """What this worker's reports say."""
        activity = Activity(lambda: engine.running, lambda: health.reason or self.clock.fault)
        activity.facts = WorkerFacts(engine_version=self.settings.engine_version)
        return activity

    def learned_facts(
        self, activity: Activity, engine: ComfyEngine
    ) -> AbstractAsyncContextManager[None]:
        """Image, GPU and instance are learned in the block, for the worker's reports."""
        is_task = self.settings.ecs_agent_uri is not None
        return learned_facts(
            activity, engine.http, self.settings.ecs_container_metadata_uri_v4 if is_task else None
        )

    @asynccontextmanager
    async def presence(self, activity: Activity, retire: asyncio.Event) -> AsyncIterator[None]:
        """The worker is reported as up until the block ends; `retire`: it should end soon."""
        revision = await self._revision()
        async with reported_presence(
            self.aws.presence,
            self.worker_id,
            activity,
            self.clock,
            revision=revision,
            retire=retire,
        ):
            yield

    async def _revision(self) -> str | None:
        """The revision of this task's definition; None outside ECS, or if it is not known."""
        url = self.settings.ecs_container_metadata_uri_v4
        if url is None or self.settings.is_canary:
            return None
        async with client_of(url) as metadata:
            try:
                return (await task_metadata(metadata)).revision
            except FleetUnreachable:
                extra = {"action": "revision_unknown"}
                _log.warning("this worker cannot retire", exc_info=True, extra=extra)
                return None

    def published_nodes(self, engine: ComfyEngine) -> AbstractAsyncContextManager[None]:
        """The engine's node classes are published after each of its starts, in the block."""
        version = self.settings.engine_version
        return background(publish_for_ever(engine.nodes, self.aws.engine_nodes, version))

    @asynccontextmanager
    async def flushed_metrics(self) -> AsyncIterator[None]:
        """Metrics are written each minute until the block ends, and once after it."""

        async def flush_for_ever() -> None:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                self.aws.metrics.flush()

        try:
            async with background(flush_for_ever()):
                yield
        finally:
            self.aws.metrics.flush()

    # --- the use cases ---------------------------------------------------------------------------

    @cached_property
    def preparation(self) -> Preparation | None:
        """None if no lock is set: then nothing is fetched and nothing is warmed up."""
        settings = self.settings
        if settings.engine_lock is None:
            return None
        folder = None
        if (store := self.aws.models) is not None and settings.models_directory is not None:
            folder = ModelFolder(store, Path(settings.models_directory), self.aws.metrics)
        preparation = Preparation.of_lock(Path(settings.engine_lock), folder)
        if folder is None or not settings.early_jobs:
            return preparation
        return replace(preparation, loading=Loading(preparation.lock.models))

    def filled_models(self, retire: asyncio.Event) -> AbstractAsyncContextManager[None]:
        """Models are fetched in the block, if jobs may run meanwhile; see `Preparation.filling`."""
        return self.preparation.filling(retire) if self.preparation else nullcontext()

    def health(self, engine: ComfyEngine) -> Health:
        """The health of this worker, on that engine."""
        preparation = self.preparation
        probe = WorkerProbe(
            engine=engine,
            disk=self._disk,
            warm_up=None if preparation is None else preparation.warm_up,
        )
        patience = HealthPatience(give_up_seconds=self.settings.unhealthy_seconds)
        return Health(probe, engine.restart, self.aws.metrics, patience)

    def engine_files(self, engine: ComfyEngine) -> EngineFiles:
        """The engine's files: on this disk, if its folder is set."""
        base = self.settings.comfyui_directory
        return OverHttp(engine) if base is None else SharedFolders(Workspace(Path(base)))

    def worker(
        self,
        engine: ComfyEngine,
        health: Health,
        protection: Protection | None,
        activity: Activity,
    ) -> Worker:
        """The worker of this process, on that engine."""
        lease = timedelta(seconds=self.settings.lease_seconds)
        return Worker(
            queue=self.aws.queue,
            terms=Terms(worker_id=self.worker_id, lease=lease),
            tools=self._tools(engine, health, lease),
            protection=protection,
            activity=activity,
            clock_fault=lambda: self.clock.fault,
            loading=self.preparation.loading if self.preparation else None,
        )

    def _tools(self, engine: ComfyEngine, health: Health, lease: timedelta) -> Toolbox:
        thumbnails = Thumbnails(self.aws.jobs, self.aws.artifacts)
        return Toolbox(
            store=self.aws.jobs,
            clock=self.clock,
            metrics=self.aws.metrics,
            engine=engine,
            files=self.engine_files(engine),
            turnstile=Turnstile(),
            inputs=Inputs(self.aws.uploads),
            collector=Collector(artifacts=self.aws.artifacts),
            thumbnails=thumbnails if self.settings.thumbnails else None,
            health=health,
            disk=self._disk,
            heartbeat=Heartbeat(
                store=self.aws.jobs,
                queue=self.aws.queue,
                clock=self.clock,
                lease=lease,
                interval=timedelta(seconds=self.settings.heartbeat_seconds),
            ),
            finisher=Finisher(
                store=self.aws.jobs,
                queue=self.aws.queue,
                clock=self.clock,
                free_slot=self._admission.free_slot,
                engine_version=self.settings.engine_version,
            ),
            progress_interval=timedelta(seconds=self.settings.progress_seconds),
            catalogue=self.preparation.lock.catalogue if self.preparation else Catalogue(),
        )

    @cached_property
    def _disk(self) -> Disk:
        base = self.settings.comfyui_directory
        folders = () if base is None else tuple(Path(base) / name for name in OWNED)
        return Disk(
            (Path(tempfile.gettempdir()), *folders), self.settings.min_free_disk_mib * 2**20
        )

    @property
    def _admission(self) -> Admission:
        return Admission(owners=self.aws.owners, jobs=self.aws.jobs, clock=self.clock)


def _bytes(mebibytes: int | None) -> int | None:
    return None if mebibytes is None else mebibytes * 2**20
