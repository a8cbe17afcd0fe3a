"""The SBOM of each shipped product is valid and complete, and has only allowed licences."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import metadata
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra import ROOT
from infra.assets import locked_requirements
from tools import licences
from tools.licences import UnknownLicence, is_allowed, licence_of
from tools.sbom import ENGINE_REQUIREMENTS, PRODUCTS, Product, document, main, refused

Json = dict[str, Any]
BY_NAME = {product.name: product for product in PRODUCTS}


@pytest.fixture(scope="module")
def documents() -> dict[str, Json]:
    return {product.name: document(product) for product in PRODUCTS}


def pins(requirements: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.-]+)==([^\s;]+)", requirements, re.MULTILINE))


def components(bom: Json) -> set[tuple[str, str]]:
    return {(each["name"], each["version"]) for each in bom["components"]}


@pytest.mark.parametrize("name", BY_NAME)
def test_it_is_valid_and_the_same_each_time(documents: dict[str, Json], name: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    assert validator.validate_str(json.dumps(documents[name])) is None
    assert validator.validate_str(json.dumps(documents[name] | {"version": "1"})) is not None
    assert document(BY_NAME[name]) == documents[name]
    references = [each["bom-ref"] for each in documents[name]["components"]]
    assert len(references) == len(set(references))


def test_it_lists_the_packages_of_the_functions(documents: dict[str, Json]) -> None:
    found = components(documents["comfyline-functions"])
    assert {name for name, _ in found - pins(locked_requirements())} == {"swagger-ui"}
    assert pins(locked_requirements()) <= found


def test_it_lists_the_packages_of_the_wheels(documents: dict[str, Json]) -> None:
    for name, project in (("comfyline", ROOT), ("comfyline-operator", ROOT / "packaging/operator")):
        declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        needed = {re.split(r"[=><]", each)[0] for each in declared["dependencies"]}
        assert needed - {"comfyline"} <= {each for each, _ in components(documents[name])}


def test_it_lists_the_engine_of_the_image_and_says_what_it_does_not_list(
    documents: dict[str, Json],
) -> None:
    bom = documents["comfyline-worker"]
    assert pins(ENGINE_REQUIREMENTS.read_text()) <= components(bom)
    assert {"ComfyUI", "pillow", "boto3"} <= {name for name, _ in components(bom)}
    not_listed = " ".join(each["value"] for each in bom["metadata"]["properties"])
    assert "Debian packages" in not_listed
    assert "Models" in not_listed


def test_the_npm_package_needs_no_sbom_because_it_depends_on_nothing() -> None:
    package = json.loads((ROOT / "clients" / "typescript" / "package.json").read_text())
    assert not package.get("dependencies")
    assert set(package["peerDependencies"]) == {"react"}
    assert package["peerDependenciesMeta"]["react"]["optional"]


def test_it_is_written_for_each_product(tmp_path: Any) -> None:
    main(tmp_path / "sbom")
    names = {path.name.removesuffix(".cdx.json") for path in (tmp_path / "sbom").iterdir()}
    assert names == set(BY_NAME)


# --- licences -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_NAME)
def test_every_shipped_package_has_an_allowed_licence(
    documents: dict[str, Json], name: str
) -> None:
    assert refused(documents[name]) == []


@pytest.mark.parametrize(
    "licence",
    ["GPL-3.0-only", "GPL-2.0-or-later", "AGPL-3.0-only", "LGPL-3.0-only", "MIT AND GPL-3.0-only"],
)
def test_a_package_under_the_gpl_is_refused(monkeypatch: Any, licence: str) -> None:
    with_gpl = {**licences.table(), "licences": {**licences.table()["licences"], "rich": licence}}
    monkeypatch.setattr(licences, "table", lambda: with_gpl)
    assert refused(document(Product("comfyline", "library"))) == [f"rich: {licence}"]


def test_only_the_engine_may_have_the_licences_of_an_engine() -> None:
    assert is_allowed("GPL-3.0-only", in_engine=True)
    assert not is_allowed("GPL-3.0-only", in_engine=False)
    assert is_allowed("GPL-3.0-only OR MIT", in_engine=False)
    assert not is_allowed("AGPL-3.0-only", in_engine=True)


def test_a_package_without_a_known_licence_is_refused() -> None:
    with pytest.raises(UnknownLicence, match=r"enter the licence of no-such-package"):
        licence_of("no-such-package")


def test_the_table_names_shipped_packages_only_and_agrees_with_their_metadata(
    documents: dict[str, Json],
) -> None:
    shipped = {each["name"].lower() for bom in documents.values() for each in bom["components"]}
    for package, licence in licences.table()["licences"].items():
        assert package in shipped
        try:
            stated = metadata.metadata(package).get("License-Expression")
        except metadata.PackageNotFoundError:
            continue
        assert stated in (None, licence)


# --- the example pipeline -------------------------------------------------------------------------


def test_actions_are_pinned_by_commit() -> None:
    pipeline = (ROOT / "docs" / "pipelines" / "github-actions.yml").read_text()
    used = re.findall(r"uses: (.*)", pipeline)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
