"""What every attempt of this worker works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from comfyline.service.clock import Clock
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.jobs.finish import Finisher
from comfyline.service.jobs.store import JobStore
from comfyline.service.metrics import Metrics
from gpu_worker.collector import Collector
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.disk import Disk
from gpu_worker.engine_files import EngineFiles
from gpu_worker.health import Health
from gpu_worker.heartbeat import Heartbeat
from gpu_worker.inputs import Inputs
from gpu_worker.thumbnails import Thumbnails
from gpu_worker.turnstile import Turnstile


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """What every attempt works with."""

    store: JobStore
    clock: Clock
    metrics: Metrics
    engine: ComfyEngine
    files: EngineFiles
    turnstile: Turnstile  # of the engine
    inputs: Inputs
    collector: Collector
    heartbeat: Heartbeat
    health: Health
    disk: Disk
    finisher: Finisher
    progress_interval: timedelta  # between two writes of progress that no subscriber waits for
    thumbnails: Thumbnails | None = None  # None: the deployment has none
    catalogue: Catalogue = field(default_factory=Catalogue)  # of this worker's own lock
