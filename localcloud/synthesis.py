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
from pathlib import Path
from typing import Any

from localcloud.state import ROOT

CACHE = ROOT / ".cache" / "templates"
KEPT = 4  # assemblies in the cache, enough for a few branches
# The files that a synthesis reads. The sources are among them, because an asset's name is a hash.
INPUTS = (
    *("infra", "deployments", "comfyline", "functions"),
    *("cdk.json", "pyproject.toml", "uv.lock", "localcloud/engine.lock.toml"),
)


class SynthesisFailed(Exception):
    """The CDK app failed. The message contains its output."""


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
    template: Asset
    assets: tuple[Asset, ...]  # including the template


@dataclass(frozen=True, slots=True)
class Assembly:
    """A folder of templates and assets: a CDK cloud assembly."""

    folder: Path

    def stacks(self) -> list[SynthesisedStack]:
        """The stacks, each after the stacks on which it depends."""
        manifest: Any = json.loads((self.folder / "manifest.json").read_text())
        artifacts = manifest["artifacts"]
        waiting = [n for n, a in artifacts.items() if a["type"] == "aws:cloudformation:stack"]
        ordered: list[str] = []
        while waiting:
            ready = [n for n in waiting if not set(waiting) & set(artifacts[n]["dependencies"])]
            ordered += ready
            waiting = [n for n in waiting if n not in ready]
        return [self._stack(name, artifacts[name]) for name in ordered]

    def _stack(self, name: str, artifact: Any) -> SynthesisedStack:
        template_file = artifact["properties"]["templateFile"]
        files: Any = json.loads((self.folder / f"{name}.assets.json").read_text())["files"]
        assets = tuple(asset for file in files.values() for asset in self._assets(file))
        template = next(a for a in assets if a.path == self.folder / template_file)
        return SynthesisedStack(artifact["properties"].get("stackName", name), template, assets)

    def _assets(self, file: Any) -> Iterator[Asset]:
        source = file["source"]
        for destination in file["destinations"].values():
            yield Asset(
                path=self.folder / source["path"],
                is_folder=source["packaging"] == "zip",
                bucket=destination["bucketName"],
                key=destination["objectKey"],
            )


def synthesise(deployment: str, cache: Path = CACHE) -> Assembly:
    """The assembly of the current sources for that file of deployments/.

    Raises:
        SynthesisFailed: with the output of the CDK app.
    """
    folder = cache / _digest(deployment)
    if not (folder / "manifest.json").exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            draft = Path(scratch, "assembly")
            _run_app(deployment, draft)
            shutil.rmtree(folder, ignore_errors=True)
            draft.replace(folder)
    folder.touch()
    _remove_old(cache)
    return Assembly(folder)


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
        raise SynthesisFailed(f"The CDK app failed for {deployment}:\n{done.stdout}")


def _digest(deployment: str) -> str:
    digest = hashlib.sha256(deployment.encode())
    for path in _inputs():
        digest.update(f"\0{path}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _inputs() -> Iterator[Path]:
    for name in INPUTS:
        place = ROOT / name
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (p for p in found if p.is_file() and "__pycache__" not in p.parts)


def _remove_old(cache: Path) -> None:
    assemblies = [p for p in cache.iterdir() if (p / "manifest.json").exists()]
    for old in sorted(assemblies, key=lambda p: p.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
