"""Write what each shipped product is made of, as CycloneDX: two wheels, the functions, the image.

uv writes packages, versions, hashes and dependencies from uv.lock. This adds licences, and what no
lock of Python packages knows: the engine of the image, and the browser files of /docs. What cannot
be known without building the image is named in the file, as `comfyline:not-listed`.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyline.service.graphs.lock import EngineLock
from infra import ROOT
from infra.assets import FUNCTION_PACKAGES, LOCK, uv
from tools.licences import is_allowed, licence_of

ENGINE_REQUIREMENTS = ROOT / "gpu_worker" / "engine.requirements.txt"

_IDS = uuid.UUID("6f1c7a34-4f0e-4c8e-9d1f-0f4f6f1f2a57")  # a namespace for uuid5
_NOT_LISTED = "comfyline:not-listed"
_PART = "comfyline:part"

Json = dict[str, Any]


def _no_parts() -> Iterator[Json]:
    yield from ()


@dataclass(frozen=True, slots=True)
class Product:
    """Something that ships. `options`: what uv.lock is asked for; `parts`: the other components."""

    name: str
    kind: str  # of CycloneDX
    options: tuple[str, ...] = ()
    parts: Callable[[], Iterator[Json]] = _no_parts
    not_listed: tuple[str, ...] = ()


def document(product: Product) -> Json:
    """The product's SBOM. It depends on nothing but the files of the checkout."""
    options = ("--frozen", "--offline", "--no-dev", "--preview-features", "sbom-export")
    bom: Json = json.loads(uv("export", "--format", "cyclonedx1.5", *options, *product.options))
    components = [*bom["components"], *product.parts()]
    for component in components:
        component["licenses"] = [{"expression": licence_of(component["name"])}]
    whole = bom["metadata"]["component"] | {
        "type": product.kind,
        "name": product.name,
        "licenses": [{"expression": "Apache-2.0"}],
    }
    not_listed = [{"name": _NOT_LISTED, "value": text} for text in product.not_listed]
    made = bom | {
        "metadata": {
            "tools": bom["metadata"]["tools"],
            "component": whole,
            "properties": not_listed,
        },
        "components": components,
    }
    del made["serialNumber"]
    return made | {"serialNumber": uuid.uuid5(_IDS, json.dumps(made, sort_keys=True)).urn}


def refused(bom: Json) -> list[str]:
    """The components of an SBOM with a licence that shipped code may not have."""
    licences = [(each, each["licenses"][0]["expression"]) for each in bom["components"]]
    return [
        f"{component['name']}: {licence}"
        for component, licence in licences
        if not is_allowed(licence, in_engine=_part_of(component) == "engine")
    ]


def _part_of(component: Json) -> str | None:
    parts = (each["value"] for each in component.get("properties", ()) if each["name"] == _PART)
    return next(parts, None)


# --- what no lock of Python packages knows --------------------------------------------------------


def _component(kind: str, name: str, version: str, part: str, **more: Any) -> Json:
    return {
        "type": kind,
        "bom-ref": f"{part}:{name}@{version}",
        "name": name,
        "version": version,
        "properties": [{"name": _PART, "value": part}],
        **more,
    }


def _browser_files() -> Iterator[Json]:
    [version] = {
        match[1]
        for path in (ROOT / "functions" / "_viewer").iterdir()
        if (match := re.search(r"-(\d+\.\d+\.\d+)\.\w+\.gz$", path.name))
    }
    yield _component(
        "library", "swagger-ui", version, "viewer", purl=f"pkg:npm/swagger-ui-dist@{version}"
    )


def _engine_and_bases() -> Iterator[Json]:
    lock = EngineLock.parse((ROOT / LOCK).read_text())
    for source in (lock.comfyui, *lock.custom_nodes):
        name = source.repository.rpartition("/")[2]
        link = {"type": "vcs", "url": source.repository}
        yield _component("application", name, source.commit, "engine", externalReferences=[link])
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)", ENGINE_REQUIREMENTS.read_text(), re.MULTILINE
    ):
        yield _component("library", name, version, "engine", purl=f"pkg:pypi/{name}@{version}")


_IN_LAMBDA = "Python: it belongs to Lambda's runtime python3.13."
_IN_BASES = (
    "Python and the Debian packages of the base image, and libcap2-bin: no lock has their "
    "versions. List them from the built image, for example with `docker scout sbom` or syft."
)
_IN_MODELS = (
    "Models: a worker fetches them from S3 when it starts; the engine lock has their SHA-256."
)
PRODUCTS = (
    Product("comfyline", "library"),
    Product("comfyline-operator", "library", ("--extra", "operator")),
    Product("comfyline-functions", "application", FUNCTION_PACKAGES, _browser_files, (_IN_LAMBDA,)),
    Product(
        "comfyline-worker",
        "container",
        ("--extra", "worker"),
        _engine_and_bases,
        (_IN_BASES, _IN_MODELS),
    ),
)


def main(folder: Path) -> None:
    """Write the SBOM of each product into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for product in PRODUCTS:
        path = folder / f"{product.name}.cdx.json"
        path.write_text(json.dumps(document(product), indent=2) + "\n")
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
