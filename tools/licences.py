"""The licence of each shipped package, and whether shipped code may have it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import metadata

from infra import ROOT

LICENCES = ROOT / "packaging" / "licences.toml"


class UnknownLicence(Exception):
    """A package neither states its licence nor has an entry in packaging/licences.toml."""


def licence_of(package: str) -> str:
    """The SPDX expression of the package's licence.

    Raises:
        UnknownLicence: neither packaging/licences.toml nor the package's metadata states it.
    """
    entry = table()["licences"].get(package.lower())
    if entry is not None:
        return entry
    try:
        return str(metadata.metadata(package).json["license_expression"])
    except (metadata.PackageNotFoundError, KeyError) as error:
        where = LICENCES.relative_to(ROOT)
        raise UnknownLicence(f"enter the licence of {package} in {where}") from error


def is_allowed(expression: str, *, in_engine: bool) -> bool:
    """Whether shipped code may have this licence. Of `A OR B`, one is enough."""
    allowed = table()["allowed"].keys() | (table()["allowed_in_engine"].keys() if in_engine else ())
    return any(allowed >= {*choice.split(" AND ")} for choice in expression.split(" OR "))


@cache
def table() -> Mapping[str, Mapping[str, str]]:
    """packaging/licences.toml."""
    return tomllib.loads(LICENCES.read_text())
