"""Count crashed workers: they ended with an error, or their container could not be started.

EventBridge passes ECS's events about such tasks on. The scaler keeps the fleet small while there
are several of them.
"""

from __future__ import annotations

from comfyline.service.metrics import Metric
from functions._handlers import Event, at_start, lambda_handler, logger
from functions._wiring import Wiring

at_start(lambda wiring: wiring.aws.scaling_memory)


@lambda_handler
def handler(event: Event, wiring: Wiring) -> None:
    """Count the task of one event. An event that comes twice is counted twice."""
    task = event["detail"]
    codes = [code for c in task.get("containers", ()) if (code := c.get("exitCode")) is not None]
    reason = {"stop_code": task.get("stopCode"), "why": task.get("stoppedReason")}
    extra = {"action": "worker_crashed", "task": task["taskArn"], "exit_codes": codes, **reason}
    logger.warning("worker crashed", extra=extra)
    wiring.aws.scaling_memory.count_crash(wiring.clock())
    wiring.aws.metrics.record(Metric.WORKERS_CRASHED)
