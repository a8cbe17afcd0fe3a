"""Who calls, as the contract shows it."""

from __future__ import annotations

from dataclasses import asdict

from comfyline.contract.v1.access import Caller, CallerKey, KeyLimits
from comfyline.service.access.slots import Occupancy
from comfyline.service.clock import earliest
from functions._handlers import Sender


def caller_view(sender: Sender, occupancy: Occupancy | None = None) -> Caller:
    """The caller. `occupancy` is shown only of limits that its key has.

    The user of a token is not the owner's staff, so it learns neither the key nor its limits.
    """
    caller = Caller(
        owner=sender.owner,
        user=sender.user,
        scopes=sender.scopes,
        expires_at=earliest(sender.ends_at, sender.key_ends_at),
        jobs_enabled=sender.is_on("jobs_enabled"),
        sockets_enabled=sender.is_on("websocket_enabled"),
    )
    return caller if sender.user is not None else _with_key(caller, sender, occupancy)


def _with_key(caller: Caller, sender: Sender, occupancy: Occupancy | None) -> Caller:
    limits, known = sender.limits, {}
    if occupancy is not None and limits.max_active_jobs is not None:
        known["active_jobs"] = occupancy.slots
    if occupancy is not None and limits.jobs_per_minute is not None:
        known["posts_this_minute"] = occupancy.posts
    key = CallerKey(id=sender.key_id, name=sender.key_name, expires_at=sender.key_ends_at)
    return caller.model_copy(update={"key": key, "limits": KeyLimits(**asdict(limits)), **known})
