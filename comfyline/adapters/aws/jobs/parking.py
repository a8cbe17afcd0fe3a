"""The queue of what could not be settled: parked steps, and records that could not be read.

    {"schema": 1, "step": "count", "job_id": "job_...", "incarnation": "..."}
    {"schema": 1, "record": "<the record as JSON>"}

The queue keeps a message for 14 days. Lambda delivers it to settle_jobs again and again until it
succeeds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import JobId
from comfyline.service.jobs.settle import ParkedStep

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

SCHEMA = 1
# Below the limit of SQS, with room for the rest of the message.
MAX_RECORD_BYTES = 250_000

_log = logging.getLogger(__name__)


class SqsParking:
    """`Parking` in an SQS queue."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    @translated()
    def park(self, steps: Sequence[ParkedStep]) -> None:
        """See Parking."""
        for parked in steps:
            self._send(_fields_of(parked))

    @translated()
    def set_aside(self, record: str) -> None:
        """See Parking."""
        if len(json.dumps(record)) > MAX_RECORD_BYTES:
            _log.error("record too large to park", extra={"action": "record_too_large"})
            return
        self._send({"record": record})

    def _send(self, fields: dict[str, str]) -> None:
        body = json.dumps({"schema": SCHEMA, **fields})
        self._client.send_message(QueueUrl=self._url, MessageBody=body)


def parked_step(body: str) -> ParkedStep | str:
    """The content of a message of the queue: a step, or the text of a stream record."""
    message = json.loads(body)
    if "record" in message:
        return str(message["record"])
    return ParkedStep(message["step"], JobId(message["job_id"]), message["incarnation"])


def _fields_of(parked: ParkedStep) -> dict[str, str]:
    return {"step": parked.step, "job_id": parked.job_id, "incarnation": parked.incarnation}
