"""What is wrong with a deployment, for operators: its dead letters and its alarms."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from comfyline.contract.v1.common import Count, Response, Status
from comfyline.contract.v1.fleet import QueueDepth

AlarmState = Literal["ok", "raised", "unknown"]


class DeadLetterView(Response):
    """One ticket that was delivered too often."""

    message_id: str = Field(description="Id of the message in SQS.")
    job_id: str | None = Field(
        default=None, description="The job's id; null if the message is not a ticket."
    )
    text: str | None = Field(
        default=None, description="The beginning of a message that is not a ticket."
    )
    sent_at: datetime = Field(description="When the ticket was sent.")
    received: Count = Field(description="How often SQS has delivered it, each look included.")
    owner: str | None = Field(default=None, description="The owner of the job, if it exists.")
    status: Status | None = Field(default=None, description="The job's state, if it exists.")


class DeadLetterList(Response):
    """The tickets that can be seen now, oldest first, and how many there are."""

    dead_letters: list[DeadLetterView] = Field(
        description="Some of the tickets that nothing tries just now.",
        json_schema_extra={"maxItems": 50},
    )
    depth: QueueDepth = Field(
        description="All tickets of the queue. Those in flight are being tried again by the "
        "service, and can be seen when that has failed, after 3 minutes."
    )


class RedriveAnswer(Response):
    """What one call has done."""

    sent_again: Count = Field(description="Tickets whose jobs have a new ticket now.")
    of_no_live_job: Count = Field(
        description="Tickets that were dropped, because their jobs have ended or do not exist."
    )
    out_of_reach: Count = Field(
        description="Tickets that stay, because the table or the lane did not answer."
    )
    more: bool = Field(description="Whether tickets may be left: call again.")


class AlarmView(Response):
    """One alarm."""

    name: str = Field(description="The alarm's name, which is also its section in the runbook.")
    description: str = Field(description="What the alarm means.")
    state: AlarmState = Field(
        description="`raised` while it rings; `unknown` while there is no data."
    )
    since: datetime = Field(description="When the state has changed last.")


class AlarmList(Response):
    """The alarms of the deployment, those that are raised first."""

    stage: str = Field(description="The deployment's stage, for `comfyline admin --stage`.")
    watched: bool = Field(
        description="Whether the deployment has alarms. One on a laptop has none, and one with "
        "`alarms.enabled = false` neither."
    )
    alarms: list[AlarmView] = Field(description="The alarms.", json_schema_extra={"maxItems": 100})
