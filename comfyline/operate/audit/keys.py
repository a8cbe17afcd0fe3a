"""The keys table: check each API key and the switches alone, and note the keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields

from comfyline.adapters.aws.access.key_items import key_of
from comfyline.adapters.aws.access.keys import OWNER_PREFIX
from comfyline.adapters.aws.attributes import Item, read_time
from comfyline.operate.audit.findings import Finding
from comfyline.operate.audit.index import Index
from comfyline.operate.audit.source import Source, Table, Terms, name_of
from comfyline.service.access.authenticate import OWNER_PATTERN, SCOPES
from comfyline.service.access.keys import KEYS_SCOPE, ApiKey, Flags, with_included
from comfyline.service.access.slots import MAX_ACTIVE_JOBS, MAX_JOBS_PER_MINUTE
from comfyline.service.jobs.invariants import CLOCK_SKEW
from comfyline.service.live.sockets import CONNECTION_LIFETIME, WATCH_STEP

KEY_ID = re.compile(r"[0-9a-f]{16}")

_FLAGS = "flags"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HIGHEST = {"max_active_jobs": MAX_ACTIVE_JOBS, "jobs_per_minute": MAX_JOBS_PER_MINUTE}


class Keys:
    """Checks the keys table."""

    def __init__(self, source: Source, index: Index, terms: Terms) -> None:
        self._source, self._index, self._terms = source, index, terms

    def findings(self) -> Iterator[Finding]:
        """Read the table, fill the index, and check every item alone."""
        for item in self._source.items(Table.KEYS):
            try:
                yield from self._check_of(item["pk"]["S"])(item)
            except Exception as error:  # noqa: BLE001 one damaged item must not hide the others
                yield Finding("key", name_of(item), f"cannot be read: {error!r:.200}")

    def _check_of(self, id_: str) -> Callable[[Item], Iterator[Finding]]:
        if id_ == _FLAGS:
            return _of_flags
        return self._of_watch if id_.startswith(OWNER_PREFIX) else self._of_key

    def _of_watch(self, item: Item) -> Iterator[Finding]:
        latest = self._terms.clock() + CONNECTION_LIFETIME + WATCH_STEP + CLOCK_SKEW
        if read_time(item["watched_until"]) > latest:
            yield Finding("key", item["pk"]["S"], "is watched for longer than a socket lives")

    def _of_key(self, item: Item) -> Iterator[Finding]:
        key = key_of(item)
        cap = key.limits.max_active_jobs
        self._index.add("keys", id=key.id, owner=key.owner, cap=cap, made_by=key.made_by)
        for fault in _faults(key):
            yield Finding("key", key.id, fault)
        if key.created_at > self._terms.clock() + CLOCK_SKEW:
            yield Finding("key", key.id, "was created in the future")


def _faults(key: ApiKey) -> Iterator[str]:
    if not KEY_ID.fullmatch(key.id):
        yield "has an id that no key can have"
    if not _SHA256.fullmatch(key.secret_sha256):
        yield "has no SHA-256 of a secret, so no caller can use it"
    if not re.fullmatch(OWNER_PATTERN, key.owner):
        yield f"is of {key.owner!r}, which is no name of an owner"
    known = SCOPES if key.made_by is None else with_included(SCOPES) - {KEYS_SCOPE}
    if not key.scopes or key.scopes - known:
        yield f"has the scopes {sorted(key.scopes)}"
    if key.expires_at is not None and key.expires_at <= key.created_at:
        yield "has expired before it was created"
    for name, bound in asdict(key.limits).items():
        if bound is not None and not 1 <= bound <= _HIGHEST.get(name, bound):
            yield f"has {name} {bound}"


def _of_flags(item: Item) -> Iterator[Finding]:
    for field in fields(Flags):
        if field.name in item and not isinstance(item[field.name].get("BOOL"), bool):
            yield Finding("key", _FLAGS, f"{field.name} is not a switch")
