"""The queue of what could not be settled: parked steps, and stream records that were unreadable.

    {"schema": 1, "step": "count", "job_id": "job_...", "incarnation": "..."}
    {"schema": 1, "record": "<the record as JSON>"}

The queue keeps a message for 14 days. Lambda delivers it to settle_jobs again and again until it
succeeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import JobId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.settle import ParkedStep

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

SCHEMA = 1
MAX_SENT = 10  # messages in one call of SQS


class SqsParking:
    """`Parking` in an SQS queue."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    @translated()
    def park(self, steps: Sequence[ParkedStep]) -> None:
        """See Parking."""
        for start in range(0, len(steps), MAX_SENT):
            self._send(_body_of_step(step) for step in steps[start : start + MAX_SENT])

    @translated()
    def set_aside(self, record: str) -> None:
        """See Parking."""
        self._send([json.dumps({"schema": SCHEMA, "record": record})])

    def _send(self, bodies: Iterable[str]) -> None:
        entries: Any = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
        answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        if failed := answer.get("Failed"):
            raise Unavailable(f"{len(failed)} of {len(entries)} messages not stored: {failed[0]}")


def parked_step(body: str) -> ParkedStep | str:
    """What a message of the queue holds: a step, or the text of a record."""
    message = json.loads(body)
    if "record" in message:
        return str(message["record"])
    return ParkedStep(message["step"], JobId(message["job_id"]), message["incarnation"])


def _body_of_step(parked: ParkedStep) -> str:
    return json.dumps(
        {
            "schema": SCHEMA,
            "step": parked.step,
            "job_id": parked.job_id,
            "incarnation": parked.incarnation,
        }
    )
