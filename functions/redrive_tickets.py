"""The dead-letter queue: replace a ticket that was delivered too often, or drop it.

Each ticket is handled alone. If a ticket's job is out of reach, the function reports the ticket as
failed, and SQS delivers it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyline.adapters.aws.queue import job_id_of, shown
from comfyline.service.metrics import Metric
from functions._handlers import Event, at_start, lambda_handler, logger
from functions._wiring import Wiring

at_start(lambda wiring: (wiring.aws.jobs, wiring.aws.queue))


@lambda_handler
def handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """The ids of the messages that SQS must deliver again."""
    failed = [record["messageId"] for record in event["Records"] if not _settle(record, wiring)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _settle(record: Mapping[str, Any], wiring: Wiring) -> bool:
    """Replace or drop one ticket; False if SQS must deliver it again."""
    job_id = job_id_of(record.get("body"))
    if job_id is None:  # a retry cannot help, and the log line is the only copy of the text
        extra = {"action": "ticket_unreadable", "message_id": record["messageId"]}
        logger.error("unreadable ticket dropped", extra=extra | shown(record.get("body")))
        wiring.aws.metrics.record(Metric.ITEMS_UNREADABLE)
        return True
    try:
        sent = wiring.send_again(job_id)
    except Exception:  # the other tickets of the batch are handled; SQS keeps this one for 14 days
        extra = {"action": "redrive_failed", "job_id": job_id}
        logger.warning("ticket not settled yet", exc_info=True, extra=extra)
        return False
    action = "ticket_redriven" if sent else "ticket_dropped"
    logger.warning("ticket was delivered too often", extra={"action": action, "job_id": job_id})
    return True
