"""Every minute: repair the traces of crashes and lost messages."""

from __future__ import annotations

from datetime import datetime

from comfyline.service.jobs.round import BROKEN
from comfyline.service.jobs.sweep import SET_ASIDE
from comfyline.service.metrics import Metric
from functions._handlers import TIME_TO_SPARE, Event, at_start, deadline_handler, logger
from functions._wiring import Wiring

at_start(lambda wiring: wiring.sweeper)


@deadline_handler
def handler(_event: Event, wiring: Wiring, ends_at: datetime) -> dict[str, int]:
    """Run one round; returns how often each kind of repair was made.

    A round that starts while another one runs does nothing.
    """
    lock, now = wiring.aws.sweep_lock, wiring.clock()
    place = lock.enter(1, now=now, until=ends_at + TIME_TO_SPARE)
    if place is None:
        logger.warning("another round runs", extra={"action": "sweep_skipped"})
        return {}
    try:
        return _swept(wiring, ends_at)
    finally:
        lock.leave(place)


def _swept(wiring: Wiring, ends_at: datetime) -> dict[str, int]:
    done = dict(wiring.sweeper.sweep(ends_at))
    for event, times in done.items():
        wiring.aws.metrics.record(Metric.SWEPT, times, event=event)
    if unreadable := done.get(SET_ASIDE, 0) + done.get(BROKEN, 0):
        wiring.aws.metrics.record(Metric.ITEMS_UNREADABLE, unreadable)
    logger.info("swept", extra={"action": "swept", "done": done})
    return done
