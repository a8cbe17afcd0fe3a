"""Every minute: repair the traces of crashes and lost messages."""

from __future__ import annotations

from comfyline.service.metrics import Metric
from functions._handlers import Event, lambda_handler, logger
from functions._wiring import Wiring


@lambda_handler
def handler(_event: Event, wiring: Wiring) -> dict[str, int]:
    """Run one round; returns how often each kind of repair was made."""
    done = dict(wiring.sweeper.sweep())
    if dropped := wiring.admission.reconcile():
        done["SlotDropped"] = dropped
    if closed := wiring.socket_closer.close_unwanted():
        done["SocketClosed"] = closed
    for event, times in done.items():
        wiring.aws.metrics.record(Metric.SWEPT, times, event=event)
    logger.info("swept", extra={"action": "swept", "done": done})
    return done
