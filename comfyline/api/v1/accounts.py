"""What an operator sees of owners, keys and failures, as responses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from comfyline.api.v1.keys import key_view
from comfyline.api.v1.parsing import parsed
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.contract.limits import MAX_FAILURE_GROUPS
from comfyline.contract.texts import clean
from comfyline.contract.v1 import accounts as contract
from comfyline.contract.v1 import failures as views
from comfyline.service.access.keys import ApiKey
from comfyline.service.access.slots import MAX_ACTIVE_JOBS, MAX_JOBS_PER_MINUTE, Limits
from comfyline.service.admin.owners import OwnerRecord
from comfyline.service.errors import FieldError, InvalidRequest
from comfyline.service.ledger.failures import FailureGroup


def owner_page(
    owners: Sequence[OwnerRecord], cursor: str | None, now: datetime
) -> contract.OwnerPage:
    """One page of owners with their keys."""
    return contract.OwnerPage(owners=[_owner_view(o, now) for o in owners], next_cursor=cursor)


def _owner_view(record: OwnerRecord, now: datetime) -> contract.OwnerView:
    known = {key.id: key for key in record.keys}
    return contract.OwnerView(
        owner=record.owner,
        keys=[key_view(key, known, now) for key in record.keys],
        active_jobs=record.occupancy.slots,
        posts_this_minute=record.occupancy.posts,
        gpu_seconds=record.usage.gpu_seconds,
        jobs=record.usage.jobs,
    )


def key_page(
    keys: Sequence[ApiKey], makers: Sequence[ApiKey], cursor: str | None, now: datetime
) -> contract.KeyPage:
    """One page of keys. `makers`: the keys that have made some of them."""
    known = {key.id: key for key in makers}
    views_ = [key_view(key, known, now) for key in keys]
    return contract.KeyPage(keys=views_, next_cursor=cursor)


def new_limits(sent: Any) -> Limits:
    """The limits that the body asks for.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    limits = Limits(**parsed(contract.LimitsChange, sent).limits.model_dump())
    highest = {"max_active_jobs": MAX_ACTIVE_JOBS, "jobs_per_minute": MAX_JOBS_PER_MINUTE}
    errors = [
        FieldError(("body", "limits", name), f"must be at most {most:,}")
        for name, most in highest.items()
        if (getattr(limits, name) or 0) > most
    ]
    if errors:
        raise InvalidRequest("A limit is higher than a deployment can count.", errors)
    return limits


def sessions_to_end(sent: Any) -> tuple[OwnerId, KeyId | None]:
    """Whose sessions the body names: an owner's, or those of one key of it.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    asked = parsed(contract.SessionsEnd, sent)
    return OwnerId(asked.owner), None if asked.key_id is None else KeyId(asked.key_id)


def failure_list(groups: Sequence[FailureGroup], days: int) -> views.FailureList:
    """The most frequent groups. Texts of nodes are safe to print in a terminal."""
    return views.FailureList(
        days=days,
        jobs=sum(group.jobs for group in groups),
        groups_total=len(groups),
        groups=[_group_view(group) for group in groups[:MAX_FAILURE_GROUPS]],
    )


def _group_view(group: FailureGroup) -> views.FailureGroupView:
    kind, samples = group.kind, group.samples
    return views.FailureGroupView(
        type=clean(kind.type),
        node_type=clean(kind.node_type) or None,
        engine_version=clean(kind.engine) or None,
        jobs=group.jobs,
        first_at=group.first_at,
        last_at=group.last_at,
        samples=[views.FailureSample(job_id=job_id, owner=owner) for job_id, owner in samples],
    )
