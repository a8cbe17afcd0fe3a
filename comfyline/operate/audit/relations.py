"""What items of different tables must say of each other: all relations, and the times they use."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from comfyline.adapters.aws.ledger.table import COUNTED_FOR
from comfyline.operate.audit.findings import Finding
from comfyline.operate.audit.index import Index
from comfyline.operate.audit.relations_of_jobs import OF_REQUESTS, OF_RESULTS
from comfyline.operate.audit.relations_of_owners import OF_KEYS, OF_LEDGER, OF_SLOTS, OF_SOCKETS
from comfyline.operate.audit.source import LIFECYCLE_LAG, SWEEP_LAG, Source, Terms, micro
from comfyline.service.intake.admit import CHECK_MINUTES
from comfyline.service.live.sockets import CONNECTION_LIFETIME
from comfyline.service.storage_names import ARTIFACT_EXPIRY_DAYS

ARTIFACT_LIFETIME = timedelta(days=ARTIFACT_EXPIRY_DAYS)
# TTLs are whole seconds, and a replay writes its item with its own time.
_TTL_MICROSECONDS = 2_000_000

RELATIONS = (*OF_REQUESTS, *OF_RESULTS, *OF_SLOTS, *OF_LEDGER, *OF_SOCKETS, *OF_KEYS)


def findings(source: Source, index: Index, terms: Terms) -> Iterator[Finding]:
    """Everything that breaks a relation."""
    times = _times(terms)
    for relation in RELATIONS:
        yield from relation.findings(source, index, times)


def _times(terms: Terms) -> dict[str, Any]:
    began = terms.began_at
    times = {
        "began": began,
        "settled": terms.settled,
        "swept": began - SWEEP_LAG,
        "checked": began - timedelta(minutes=CHECK_MINUTES) - SWEEP_LAG,
        "files_end": began - ARTIFACT_LIFETIME - LIFECYCLE_LAG,
        "counted_from": began - COUNTED_FOR,
        "opened": began - SWEEP_LAG + CONNECTION_LIFETIME,
    }
    spans = {"ttl_lag": _TTL_MICROSECONDS, "counted_for": COUNTED_FOR // timedelta.resolution}
    return {name: micro(time) for name, time in times.items()} | spans
