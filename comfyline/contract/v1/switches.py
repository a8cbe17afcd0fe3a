"""The operator's switches: whether the service accepts jobs and sockets."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from comfyline.contract.v1.common import Count, Request, Response

_JOBS = "Whether the service accepts new jobs. Accepted jobs go on in any case."
_SOCKETS = "Whether the service accepts WebSockets. Clients poll while it does not."
MAX_VERSION = 2**53 - 1


class SwitchesRequest(Request):
    """All switches as they shall be."""

    jobs_enabled: bool = Field(description=_JOBS)
    sockets_enabled: bool = Field(description=_SOCKETS)
    version: int = Field(
        ge=0,
        le=MAX_VERSION,
        description="The version that you have read. If another operator has changed a switch "
        "since, the request is refused with 409, and nothing changes.",
    )


class SwitchesView(Response):
    """The switches, and who has changed one last."""

    jobs_enabled: bool = Field(description=_JOBS)
    sockets_enabled: bool = Field(description=_SOCKETS)
    version: Count = Field(description="Number of changes so far.")
    changed_at: datetime | None = Field(
        default=None, description="When a switch was changed last. It takes effect within 30 s."
    )
    changed_by: str | None = Field(
        default=None,
        description="The owner of the key that has changed it; null for a command with "
        "credentials of the account.",
    )
