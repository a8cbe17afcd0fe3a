"""Inconsistencies in reports of workers and engines."""

from __future__ import annotations

import zlib
from typing import Any

from comfyline.adapters.aws.attributes import time_of, ttl_of
from comfyline.adapters.aws.fleet.presence import WORKERS
from comfyline.operate.audit.source import Table
from tests.integration.audit.plants.plant import DAY, HOUR, found_as, n
from tests.support.audited import (
    Deployed,
)


def _report(d: Deployed, **attributes: Any) -> None:
    name = next(n for n in d.names(Table.JOBS, WORKERS["S"]) if n.startswith("wrk_"))
    d.set(Table.JOBS, WORKERS["S"], name, **attributes)


@found_as("presence", "cannot be read")
def report_unreadable(d: Deployed) -> None:
    """The report of a worker has a text for a number."""
    _report(d, running={"S": "many"})


@found_as("presence", "active for too long")
def report_for_a_year(d: Deployed) -> None:
    """A worker is reported as active until next year, so the fleet is one too small."""
    end = d.now + 365 * DAY
    _report(d, until=time_of(end), ttl=ttl_of(end + HOUR))


@found_as("presence", "another TTL")
def report_without_ttl(d: Deployed) -> None:
    """The report of a worker has no TTL."""
    _report(d, ttl=None)


@found_as("presence", "negative count")
def report_of_negative_jobs(d: Deployed) -> None:
    """A worker reports that it holds minus two jobs."""
    _report(d, held=n(-2))


@found_as("presence", "no worker can have")
def report_of_a_strange_worker(d: Deployed) -> None:
    """A report has an id that no worker can have."""
    name = next(n for n in d.names(Table.JOBS, WORKERS["S"]) if n.startswith("wrk_"))
    d.put(Table.JOBS, d.item(Table.JOBS, WORKERS["S"], name) | {"sk": {"S": "me"}})


@found_as("item", "cannot be read")
def engine_unreadable(d: Deployed) -> None:
    """What an engine has published is damaged."""
    d.set(Table.JOBS, "engine", "v1", body={"B": zlib.compress(b"[")})
