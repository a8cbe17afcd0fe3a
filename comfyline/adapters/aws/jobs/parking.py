"""The queue of what could not be settled: parked steps, and records that could not be read.

    {"schema": 1, "step": "count", "job_id": "job_...", "incarnation": "..."}
    {"schema": 1, "record": "<the record as JSON>"}

The queue keeps a message for 14 days. Lambda delivers it to settle_jobs again and again until it
succeeds.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import JOB_ID_PATTERN, JobId
from comfyline.service.errors import Unreadable
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


def parked_step(body: str) -> ParkedStep | Mapping[str, Any]:
    """The content of a message of the queue: a step, or a record of the stream.

    Raises:
        Unreadable: the message is neither. No message raises anything else.
    """
    try:
        return _content_of(json.loads(body))
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise Unreadable(f"no parked step and no record: {error!r:.200}") from error


def _content_of(message: Any) -> ParkedStep | Mapping[str, Any]:
    if "record" in message:
        record = json.loads(message["record"])
        if not isinstance(record, dict):
            raise TypeError("a record is an object")
        return record
    parked = ParkedStep(message["step"], JobId(message["job_id"]), message["incarnation"])
    if not re.fullmatch(JOB_ID_PATTERN, parked.job_id):
        raise ValueError("not the id of a job")
    int(parked.incarnation, 16)
    if not isinstance(parked.step, str):
        raise TypeError("a step has a name")
    return parked


def _fields_of(parked: ParkedStep) -> dict[str, str]:
    return {"step": parked.step, "job_id": parked.job_id, "incarnation": parked.incarnation}
