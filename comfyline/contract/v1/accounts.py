"""What an operator sees of owners and keys, and what it changes."""

from __future__ import annotations

from pydantic import Field

from comfyline.contract.limits import MAX_JOBS_PER_PAGE
from comfyline.contract.v1.access import KeyView, NewLimits
from comfyline.contract.v1.common import Amount, Count, Request, Response

# Those of people begin with characters that no other owner begins with.
_OWNER = "^[A-Za-z0-9._@:~+-]{1,128}$"
_KEY_ID = "^[a-z0-9-]{1,64}$"
_NEXT = "Send it as `cursor` for the next page; null on the last page."


class OwnerView(Response):
    """One owner that has keys."""

    owner: str = Field(description="The owner's name.")
    keys: list[KeyView] = Field(description="Its keys, oldest first, also those that have ended.")
    active_jobs: Count = Field(
        description="Its jobs that have not ended, of keys that have a cap of such jobs."
    )
    posts_this_minute: Count = Field(
        description="Its posts in this minute, of keys that have a rate."
    )
    gpu_seconds: Amount = Field(description="GPU time of all its ended jobs, in seconds.")
    jobs: Count = Field(description="How many of its ended jobs have used a GPU.")


class OwnerPage(Response):
    """One page of the owners that have keys, by name."""

    owners: list[OwnerView] = Field(max_length=MAX_JOBS_PER_PAGE, description="The owners.")
    next_cursor: str | None = Field(default=None, description=_NEXT)


class KeyPage(Response):
    """One page of the keys of all owners, in no particular order."""

    keys: list[KeyView] = Field(
        max_length=MAX_JOBS_PER_PAGE,
        description="The keys. A page may have few or none although more follow.",
    )
    next_cursor: str | None = Field(default=None, description=_NEXT)


class SessionsEnd(Request):
    """Whose sessions end."""

    owner: str = Field(pattern=_OWNER, description="The owner, or the person.")
    key_id: str | None = Field(
        default=None,
        pattern=_KEY_ID,
        description="Only the sessions of this key of the owner. A person's key begins with sso-.",
    )


class SessionsEnded(Response):
    """What was ended."""

    ended: Count = Field(description="How many sessions.")
    more: bool = Field(description="Whether there may be more. Then call again.")


class LimitsChange(Request):
    """The limits of a key, which replace all that it has. A limit that is left out is removed."""

    limits: NewLimits = Field(description="The new limits.")
