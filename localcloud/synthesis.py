"""The templates of the CDK app. They are synthesised again only if one of their inputs changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from localcloud.state import ROOT, CloudFailed

CACHE = ROOT / ".cache" / "templates"
CONSOLES = ROOT / ".cache" / "console"  # infra/console.py builds them
KEPT = 4  # assemblies in the cache, enough for a few branches
# The files that a synthesis reads. The sources are among them, because an asset's name is a hash.
INPUTS = (
    *("infra", "deployments", "comfyline", "functions"),
    *("console/src", "console/index.html", "console/package-lock.json", "console/vite.config.ts"),
    *("clients/typescript/src", "console/package.json", "console/tsconfig.json"),
    *("cdk.json", "pyproject.toml", "uv.lock", "localcloud/engine.lock.toml"),
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file or folder that must be in the account's asset bucket before a stack deploys."""

    path: Path
    is_folder: bool  # a folder is uploaded as a zip
    bucket: str  # with placeholders for account and region
    key: str


@dataclass(frozen=True, slots=True)
class SynthesisedStack:
    """One stack of an assembly."""

    name: str
    template: str  # "<bucket>/<key>", with placeholders for account and region
    assets: tuple[Asset, ...]  # including the template


def stacks(assembly: Path) -> list[SynthesisedStack]:
    """The stacks of a CDK cloud assembly, each after the stacks on which it depends."""
    artifacts = json.loads((assembly / "manifest.json").read_text())["artifacts"]
    needs = {name: artifact.get("dependencies", ()) for name, artifact in artifacts.items()}
    return [
        SynthesisedStack(
            name,
            artifacts[name]["properties"]["stackTemplateAssetObjectUrl"].removeprefix("s3://"),
            tuple(_assets(assembly, name)),
        )
        for name in TopologicalSorter(needs).static_order()
        if artifacts[name]["type"] == "aws:cloudformation:stack"
    ]


def _assets(assembly: Path, stack: str) -> Iterator[Asset]:
    files = json.loads((assembly / f"{stack}.assets.json").read_text())["files"]
    for file in files.values():
        for destination in file["destinations"].values():
            yield Asset(
                path=assembly / file["source"]["path"],
                is_folder=file["source"]["packaging"] == "zip",
                bucket=destination["bucketName"],
                key=destination["objectKey"],
            )


def synthesise(deployment: str) -> Path:
    """The folder of the current sources' assembly for that file of deployments/.

    Raises:
        CloudFailed: with the output of the CDK app.
    """
    folder = CACHE / _digest(deployment)
    if not (folder / "manifest.json").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            draft = Path(scratch, "assembly")
            _run_app(deployment, draft)
            shutil.rmtree(folder, ignore_errors=True)
            draft.replace(folder)
    folder.touch()
    _remove_old()
    return folder


def _run_app(deployment: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.app"],
        cwd=ROOT,
        env={
            **os.environ,
            # jsii looks for Node.js on the PATH, and .venv contains one.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "CDK_OUTDIR": str(folder),
            "CDK_CONTEXT_JSON": json.dumps({"deployment": deployment}),
            "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CloudFailed(f"The CDK app failed for {deployment}:\n{done.stdout}")


def _digest(deployment: str) -> str:
    consoles = sorted(p.name for p in CONSOLES.glob("*"))
    digest = hashlib.sha256(f"{deployment} {consoles}".encode())
    for path in _inputs():
        digest.update(f"\0{path}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _inputs() -> Iterator[Path]:
    for name in INPUTS:
        place = ROOT / name
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (p for p in found if p.is_file() and "__pycache__" not in p.parts)


def _remove_old() -> None:
    assemblies = [p for p in CACHE.iterdir() if (p / "manifest.json").exists()]
    for old in sorted(assemblies, key=lambda p: p.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
