"""Who may call, and how much: the caller, its key and its limits."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from comfyline.contract.limits import (
    DEFAULT_OVERLAP_SECONDS,
    MAX_KEY_NAME,
    MAX_KEY_SECONDS,
    MAX_OVERLAP_SECONDS,
    MIN_KEY_SECONDS,
)
from comfyline.contract.v1.common import Count, Request, Response

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


# --- keys of an owner -----------------------------------------------------------------------------

KeyScope = Literal["jobs", "jobs:read", "admin"]
KeyState = Literal["active", "disabled", "expired", "maker_ended"]
KeyName = Annotated[
    str,
    Field(
        max_length=MAX_KEY_NAME,
        description="A name for people, for example of the program that has the key; printable "
        "characters.",
    ),
]


def _usual_scopes() -> list[KeyScope]:
    return ["jobs"]


_MOST = 2**31 - 1  # of a limit; a key that makes keys has lower ones


class NewLimits(Request):
    """Limits of a new key. What is left out, it takes from the key that makes it."""

    max_active_jobs: int | None = Field(
        default=None, ge=1, le=_MOST, description="Jobs of the owner that have not ended."
    )
    jobs_per_minute: int | None = Field(
        default=None, ge=1, le=_MOST, description="Jobs that the owner posts in a minute."
    )
    max_pixels: int | None = Field(
        default=None, ge=1, le=_MOST, description="Pixels of one picture."
    )
    max_batch_size: int | None = Field(
        default=None, ge=1, le=_MOST, description="Pictures of one batch."
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, le=_MOST, description="HTTP requests of the owner in a minute."
    )
    uploads_per_minute: int | None = Field(
        default=None, ge=1, le=_MOST, description="Upload forms of the owner in a minute."
    )
    upload_gb_per_day: int | None = Field(
        default=None, ge=1, le=_MOST, description="Gigabytes that the owner uploads in a day (UTC)."
    )
    sockets_per_minute: int | None = Field(
        default=None, ge=1, le=_MOST, description="WebSockets that the owner opens in a minute."
    )
    max_sockets: int | None = Field(
        default=None, ge=1, le=_MOST, description="WebSockets of the key that are open at once."
    )
    max_waits: int | None = Field(
        default=None, ge=1, le=_MOST, description="Posts of the owner that wait at once."
    )


class NewKeyRequest(Request):
    """A key for the same owner. It can do no more than the key that makes it."""

    name: KeyName = ""
    scopes: list[KeyScope] = Field(
        default_factory=_usual_scopes,
        min_length=1,
        max_length=3,
        description="What the key may do. A key with the scope `keys` makes no other one with it.",
    )
    expires_in: int | None = Field(
        default=None,
        ge=MIN_KEY_SECONDS,
        le=MAX_KEY_SECONDS,
        description="After how many seconds the key expires. If null, it expires with the key that "
        "makes it.",
    )
    limits: NewLimits = Field(
        default_factory=NewLimits, description="None is larger than that of the key that makes it."
    )


class RotateRequest(Request):
    """How a key is replaced by a new one."""

    overlap_seconds: int = Field(
        default=DEFAULT_OVERLAP_SECONDS,
        ge=0,
        le=MAX_OVERLAP_SECONDS,
        description="After how many seconds the old key ends.",
    )


class KeyView(Response):
    """A key, without its secret."""

    id: str = Field(description="The key's id: the part of the key after `cl_`.")
    name: str | None = Field(default=None, description="The key's name, if it has one.")
    owner: str = Field(description="The owner of the key.")
    scopes: list[str] = Field(description="What the key may do.")
    state: KeyState = Field(
        description="Whether the key works. `maker_ended`: the key that has made it has ended."
    )
    created_at: datetime = Field(description="When the key was made.")
    expires_at: datetime | None = Field(
        default=None, description="When the key expires; null if never."
    )
    disabled_at: datetime | None = Field(
        default=None, description="When the key was disabled; null if it was not."
    )
    made_by: str | None = Field(
        default=None,
        description="Id of the key that has made it, with which it ends; null if an operator has.",
    )
    limits: KeyLimits = Field(description="The limits of the key.")


class KeyList(Response):
    """The keys of the owner, oldest first, also those that have ended."""

    keys: list[KeyView] = Field(description="The keys.")


class NewKeyResponse(Response):
    """A new key, with its secret."""

    key: str = Field(
        description="The key itself: send it as `Authorization: Bearer <key>`. It cannot be read "
        "again, because the service stores its hash only."
    )
    view: KeyView = Field(description="What the key is.")
    replaces: KeyView | None = Field(
        default=None, description="Of a rotation: the old key, with the time of its end."
    )
