"""The minute's schedule: put right what a crash or a lost message has left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools import Logger

from comfyline.service.intake.admit import Admission
from comfyline.service.jobs.sweep import Sweeper
from comfyline.service.live.hang_up import Doorkeeper
from comfyline.service.metrics import Metric
from comfyline.service.settings import SweepJobsSettings
from functions import _wiring

CLOSED_AT_ONCE = 32  # they wait on the network

logger = Logger(service="sweep_jobs")


def handler(_event: Any, _context: Any) -> dict[str, int]:
    """What was done, counted by event."""
    settings = _wiring.settings(SweepJobsSettings)
    sweeper = Sweeper(
        store=_wiring.jobs(settings.jobs_table),
        queue=_wiring.queue(settings),
        artifacts=_wiring.artifacts(settings.artifacts_bucket),
        clock=_wiring.clock,
    )
    done = dict(sweeper.sweep())
    if dropped := _admission(settings).reconcile_all():
        done["SlotDropped"] = dropped
    if closed := _close_sockets(settings):
        done["SocketClosed"] = closed
    metrics = _wiring.metrics(settings)
    for event, times in done.items():
        metrics.record(Metric.SWEPT, times, event=event)
    logger.info("swept", extra={"action": "swept", "done": done})
    return done


def _close_sockets(settings: SweepJobsSettings) -> int:
    with ThreadPoolExecutor(CLOSED_AT_ONCE) as executor:
        return Doorkeeper(
            connections=_wiring.connections(settings.connections_table),
            keys=_wiring.keys(settings.keys_table),
            sockets=_wiring.sockets(settings),
            clock=_wiring.clock,
            executor=executor,
        ).hang_up()


def _admission(settings: SweepJobsSettings) -> Admission:
    return Admission(
        owners=_wiring.owners(settings.owners_table),
        jobs=_wiring.jobs(settings.jobs_table),
        clock=_wiring.clock,
    )
