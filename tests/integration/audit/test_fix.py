"""`comfyline admin audit --fix` mends what the lifecycle can decide, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from comfyline.operate import admin
from comfyline.operate.audit.findings import Finding, Fix
from comfyline.operate.audit.source import Table
from comfyline.service.jobs.job import Status
from tests.integration.audit.plants import requests, rows
from tests.integration.audit.plants.plant import MENDED, PLANTS
from tests.support.audited import Deployed


def fixed(*options: str) -> tuple[int, dict[str, Any]]:
    arguments = ["audit", "--fix", "--json", "--grace", "0", "--strict", *options]
    done = CliRunner().invoke(admin.app, arguments)
    report: dict[str, Any] = json.loads(done.output)
    return done.exit_code, report


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch, moto: Deployed) -> None:
    """The command asks the same gateway as the audits of this folder."""
    monkeypatch.setattr(admin.wiring, "inventory", lambda: moto.stored.source)


@pytest.mark.usefixtures("sockets")
@pytest.mark.parametrize("name", sorted(MENDED))
def test_a_plant_is_mended(moto: Deployed, name: str) -> None:
    (plant,) = [plant for plant in PLANTS if plant.name == name]
    with moto.rebuilt():
        plant.make(moto)
        _, report = fixed()
        assert report["fixed"], report
        left = [*report["findings"], *report["leftovers"]]
        assert not [each for each in left if plant.says in each["message"]], left


@pytest.mark.usefixtures("sockets")
def test_the_lost_ticket_of_an_overdue_job_is_sent_again(moto: Deployed) -> None:
    with moto.rebuilt():
        rows.overdue(moto)
        before = moto.stored.source.tickets()
        status, report = fixed()
        assert (status, len(report["fixed"])) == (0, 1)
        assert moto.stored.source.tickets() == before + 1


@pytest.mark.usefixtures("sockets")
def test_a_job_whose_worker_is_gone_is_given_back(moto: Deployed) -> None:
    with moto.rebuilt():
        rows.dead_lease_due_in_an_hour(moto)
        fixed()
        row = moto.item(Table.JOBS, moto.jobs.running.id, "job")
        assert (row["status"]["S"], "lease" in row) == (Status.QUEUED.value, False)


def test_a_fix_does_nothing_if_its_finding_no_longer_holds(moto: Deployed) -> None:
    live, ended = moto.jobs.queued, moto.jobs.succeeded
    queued_at = str((live.queued_at - datetime.fromtimestamp(0, UTC)) // RESOLUTION)
    name = requests.request_item(moto, live)
    stale = [
        Finding("item", "x", "m", fix=Fix.DELETE_ITEM, target=(live.id, name, queued_at)),
        Finding("slot", "x", "m", fix=Fix.FREE_SLOT, target=(live.owner, live.id, queued_at)),
        Finding("file", "x", "m", fix=Fix.DELETE_FILE, target=("k", live.id, queued_at)),
        Finding("ledger", "x", "m", fix=Fix.COUNT, target=(ended.id,)),
        Finding("ledger", "x", "m", fix=Fix.COUNT, target=(live.id,)),
        Finding("socket", "x", "m", fix=Fix.SWEEP, target=("job_" + "0" * 26,)),
    ]
    assert admin.wiring.fixer().fix(stale) == []
    assert moto.audit().is_clean(strict=True)


RESOLUTION = timedelta.resolution
