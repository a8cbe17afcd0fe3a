"""Who may call, and how much: the caller, its key and its limits."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from comfyline.contract.v1.common import Count, Response

Limit = Annotated[int, Field(ge=1)]


class KeyLimits(Response):
    """The limits of a key. Null: the service's own limit holds, if it has one."""

    max_active_jobs: Limit | None = Field(
        default=None, description="Jobs of the owner that have not ended."
    )
    jobs_per_minute: Limit | None = Field(
        default=None, description="Jobs that the owner posts in a minute."
    )
    max_pixels: Limit | None = Field(default=None, description="Pixels of one picture.")
    max_batch_size: Limit | None = Field(default=None, description="Pictures of one batch.")
    requests_per_minute: Limit | None = Field(
        default=None, description="HTTP requests of the owner in a minute."
    )
    uploads_per_minute: Limit | None = Field(
        default=None, description="Upload forms of the owner in a minute."
    )
    upload_gb_per_day: Limit | None = Field(
        default=None, description="Gigabytes that the owner uploads in a day (UTC)."
    )
    sockets_per_minute: Limit | None = Field(
        default=None, description="WebSockets that the owner opens in a minute."
    )
    max_sockets: Limit | None = Field(
        default=None, description="WebSockets of the key that are open at once."
    )
    max_waits: Limit | None = Field(
        default=None, description="Posts of the owner that wait for their job at once."
    )


class CallerKey(Response):
    """The API key that was sent, or whose token was sent."""

    id: str = Field(description="The key's id: the part of the key after `cl_`.")
    name: str | None = Field(default=None, description="The key's name, if it has one.")
    expires_at: datetime | None = Field(
        default=None, description="When the key expires; null if never."
    )


class Caller(Response):
    """Who calls, and what the caller may do."""

    owner: str = Field(description="The owner of the key. Jobs belong to owners.")
    user: str | None = Field(
        default=None, description="The user in whose name a token acts; null for a key."
    )
    scopes: list[str] = Field(description="What the caller may do.")
    expires_at: datetime | None = Field(
        default=None,
        description="When the key or the token that was sent stops working; null if never.",
    )
    key: CallerKey | None = Field(
        default=None, description="The key; null for the token of a user."
    )
    limits: KeyLimits | None = Field(
        default=None, description="The limits of the key; null for the token of a user."
    )
    jobs_enabled: bool = Field(
        default=True, description="False while an operator has paused the service."
    )
    sockets_enabled: bool = Field(
        default=True, description="False while an operator has switched live updates off."
    )
    active_jobs: Count | None = Field(
        default=None,
        description="Jobs that count towards `limits.max_active_jobs`; null without that limit.",
    )
    posts_this_minute: Count | None = Field(
        default=None,
        description="Posts that count towards `limits.jobs_per_minute`; null without that limit.",
    )
