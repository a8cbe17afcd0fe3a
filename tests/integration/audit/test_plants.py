"""The audit finds each inconsistency that is planted in a clean deployment, and nothing else.

To print the table of plants: python -m tests.integration.audit.test_plants
"""

from __future__ import annotations

import pytest

from comfyline.operate.audit.findings import Finding
from comfyline.operate.audit.source import Table
from comfyline.service.access.keys import VOUCHED_PREFIX
from tests.integration.audit.plants.plant import MENDED, PLANTS, Plant
from tests.support.audited import Deployed
from tests.support.audited_stores import SOCKET


@pytest.mark.parametrize("deployed", ["memory", "moto"], indirect=True)
def test_a_clean_deployment_is_clean(deployed: Deployed) -> None:
    report = deployed.audit(with_bytes=True)
    assert report.is_clean(strict=True), [*report.findings, *report.leftovers]
    counts = {"queued": 3, "running": 1, "succeeded": 3, "failed": 1, "canceled": 1, "slots": 4}
    assert counts.items() <= report.counts.items()


@pytest.mark.parametrize("deployed", ["memory"], indirect=True)
def test_a_socket_of_a_person_has_a_key_that_no_table_has(deployed: Deployed) -> None:
    key_id = {"S": VOUCHED_PREFIX + "0" * 32}
    deployed.set(Table.CONNECTIONS, f"conn#{SOCKET}", "conn", key_id=key_id)
    assert deployed.audit().findings == []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each plant in memory, and in moto each with --long, else a quarter of them."""
    if "plant" in metafunc.fixturenames:
        in_moto = PLANTS if metafunc.config.getoption("--long") else PLANTS[::4]
        pairs = [("memory", plant) for plant in PLANTS] + [("moto", plant) for plant in in_moto]
        ids = [f"{place}-{plant.name}" for place, plant in pairs]
        metafunc.parametrize(("deployed", "plant"), pairs, ids=ids, indirect=["deployed"])


@pytest.mark.usefixtures("is_long")
def test_a_plant_is_found(deployed: Deployed, plant: Plant) -> None:
    plant.make(deployed)
    report = deployed.audit(with_bytes=plant.with_bytes)
    found = report.leftovers if plant.is_leftover else report.findings
    its = [finding for finding in found if _is_it(finding, plant)]
    assert its, [*report.findings, *report.leftovers]
    assert any(finding.fix is not None for finding in its) == (plant.name in MENDED)


def _is_it(finding: Finding, plant: Plant) -> bool:
    return finding.kind == plant.kind and plant.says in finding.message


def test_each_plant_is_another() -> None:
    names = {plant.name for plant in PLANTS}
    assert len(names) == len(PLANTS) >= 100
    assert names > MENDED


if __name__ == "__main__":
    for number, plant in enumerate(PLANTS, 1):
        kind = f"{plant.kind} (leftover)" if plant.is_leftover else plant.kind
        print(f"| {number} | {plant.what} | {kind}: {plant.says} |")
