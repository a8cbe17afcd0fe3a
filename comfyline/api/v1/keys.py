"""Keys of owners: the commands in bodies of requests, and the responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from comfyline.api.v1.parsing import parsed
from comfyline.contract.ids import KeyId
from comfyline.contract.texts import clean
from comfyline.contract.v1 import access as contract
from comfyline.service.access.keys import ApiKey, is_key_name
from comfyline.service.access.own_keys import NewKey
from comfyline.service.access.slots import Limits
from comfyline.service.errors import FieldError, InvalidRequest


def new_key(sent: Any) -> NewKey:
    """The key that the body asks for.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    form = parsed(contract.NewKeyRequest, sent)
    return NewKey(
        name=key_name(form.name),
        scopes=frozenset(form.scopes),
        lifetime=None if form.expires_in is None else timedelta(seconds=form.expires_in),
        limits=Limits(**form.limits.model_dump()),
    )


def overlap(sent: Any) -> timedelta:
    """For how long the old key of a rotation stays valid.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    return timedelta(seconds=parsed(contract.RotateRequest, sent).overlap_seconds)


def key_name(text: str) -> str:
    """The name without blanks around it.

    Raises:
        InvalidRequest: a terminal could not print it safely.
    """
    name = text.strip()
    if not is_key_name(name):
        detail = "A name consists of printable characters."
        raise InvalidRequest(detail, [FieldError(("body", "name"), detail)])
    return name


def key_list(keys: Iterable[ApiKey], now: datetime) -> contract.KeyList:
    """All keys of one owner."""
    known = {key.id: key for key in keys}
    return contract.KeyList(keys=[key_view(key, known, now) for key in known.values()])


def key_view(key: ApiKey, known: Mapping[KeyId, ApiKey], now: datetime) -> contract.KeyView:
    """One key. `known` has the key that has made it, if that is still there."""
    return contract.KeyView(
        id=key.id,
        name=clean(key.name) or None,
        owner=key.owner,
        scopes=sorted(key.scopes),
        state=_state(key, known, now),
        created_at=key.created_at,
        expires_at=key.expires_at,
        disabled_at=key.disabled_at,
        made_by=key.made_by,
        limits=contract.KeyLimits(**asdict(key.limits)),
    )


def _state(key: ApiKey, known: Mapping[KeyId, ApiKey], now: datetime) -> contract.KeyState:
    if key.disabled:
        return "disabled"
    if key.is_void(now):
        return "expired"
    if key.made_by is None:
        return "active"
    maker = known.get(key.made_by)
    return "maker_ended" if maker is None or maker.is_void(now) else "active"
