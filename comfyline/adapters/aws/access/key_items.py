"""An API key as an item of DynamoDB, and back."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from comfyline.adapters.aws.attributes import read_time, time_of
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.keys import ApiKey
from comfyline.service.access.slots import Limits

# Every key with an end is in one partition of the index: operators change few keys.
VOID_SHARD = {"S": "0"}
_LIMITS = tuple(field.name for field in fields(Limits))


def item_of(key: ApiKey) -> dict[str, Any]:
    """The item that holds a key."""
    ends = {
        name: time_of(end)
        for name, end in (
            ("expires_at", key.expires_at),
            ("disabled_at", key.disabled_at),
            ("void_at", key.void_at),
        )
        if end is not None
    }
    if "void_at" in ends:
        ends["void_shard"] = VOID_SHARD
    return {
        "pk": {"S": key.id},
        "secret_sha256": {"S": key.secret_sha256},
        "owner": {"S": key.owner},
        "scopes": {"L": [{"S": scope} for scope in sorted(key.scopes)]},
        "created_at": time_of(key.created_at),
        "disabled": {"BOOL": key.disabled},
        **ends,
        **({"name": {"S": key.name}} if key.name else {}),
        **({"made_by": {"S": key.made_by}} if key.made_by else {}),
        **({"revision": {"N": str(key.revision)}} if key.revision else {}),
        **{name: {"N": str(bound)} for name, bound in _bounds(key.limits).items()},
    }


def _disabled_at(item: Any) -> datetime | None:
    if not item["disabled"]["BOOL"]:
        return None
    # Earlier code has stored no time. The sockets of such a key have ended since.
    return read_time(item["disabled_at"] if "disabled_at" in item else item["created_at"])


def _bounds(limits: Limits) -> dict[str, int]:
    return {name: bound for name, bound in asdict(limits).items() if bound is not None}


def key_of(item: Any) -> ApiKey:
    """The key in an item."""
    return ApiKey(
        id=KeyId(item["pk"]["S"]),
        secret_sha256=item["secret_sha256"]["S"],
        owner=OwnerId(item["owner"]["S"]),
        scopes=frozenset(scope["S"] for scope in item["scopes"]["L"]),
        created_at=read_time(item["created_at"]),
        name=item["name"]["S"] if "name" in item else "",
        expires_at=read_time(item["expires_at"]) if "expires_at" in item else None,
        disabled_at=_disabled_at(item),
        made_by=KeyId(item["made_by"]["S"]) if "made_by" in item else None,
        revision=int(item["revision"]["N"]) if "revision" in item else 0,
        limits=Limits(**{name: int(item[name]["N"]) for name in _LIMITS if name in item}),
    )


def vouched_item(key: ApiKey | None) -> dict[str, Any]:
    """The attribute that holds a key which is in no table of keys."""
    return {} if key is None else {"vouched": {"M": item_of(key)}}


def vouched_in(item: Any) -> ApiKey | None:
    """The key in that attribute."""
    return key_of(item["vouched"]["M"]) if "vouched" in item else None
