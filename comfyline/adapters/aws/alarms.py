"""The alarms of a deployment in CloudWatch, whose names begin with that of the deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.errors import translated
from comfyline.service.admin.alarms import Alarm, AlarmState

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

_STATES = {"OK": AlarmState.OK, "ALARM": AlarmState.RAISED}
_REMEDY = " What to do: "  # between an alarm's description and the address of its section


class CloudWatchAlarms:
    """`AlarmSource` of CloudWatch's metric alarms."""

    def __init__(self, client: CloudWatchClient, prefix: str) -> None:
        """`prefix`: of the names, such as `comfyline-prod`."""
        self._client = client
        self._prefix = f"{prefix}-"

    @translated()
    def alarms(self) -> list[Alarm]:
        """See AlarmSource."""
        pages = self._client.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=self._prefix, AlarmTypes=["MetricAlarm"]
        )
        found: list[Any] = [alarm for page in pages for alarm in page["MetricAlarms"]]
        return [alarm for each in found if (alarm := self._alarm(each)) is not None]

    def _alarm(self, found: Any) -> Alarm | None:
        """None if it is of another deployment, whose name only begins like this one's."""
        name = found["AlarmName"].removeprefix(self._prefix)
        text, _, remedy = found.get("AlarmDescription", "").partition(_REMEDY)
        if remedy.rpartition("#")[2] != name:
            return None
        since = found.get("StateTransitionedTimestamp") or found["StateUpdatedTimestamp"]
        return Alarm(name, text, _STATES.get(found["StateValue"], AlarmState.UNKNOWN), since)
