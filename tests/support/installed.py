"""A wheel in an environment of its own, which holds nothing but what the wheel says it needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

UV = Path(sys.executable).with_name("uv")
OURS = {"comfyline", "comfyline-operator"}


def environment(folder: Path, *wheels: Path) -> Path:
    """A new environment with the wheels; returns its folder of programs.

    The wheels are installed as by a user. What they need is linked from this checkout's
    environment, so that no registry is asked; it holds no more than the wheels declare.
    """
    _uv("venv", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    _uv("pip", "install", "--offline", "--no-deps", "--python", python, *wheels)
    (site,) = (folder / "lib").glob("python*/site-packages")
    for name in _needed({path.name.partition("-")[0].replace("_", "-") for path in wheels}):
        _link(distribution(name), site)
    _uv("pip", "check", "--python", python)
    return python.parent


def _uv(*arguments: str | Path) -> None:
    done = subprocess.run([UV, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _needed(names: set[str]) -> set[str]:
    """The distributions that these need, directly or not, without ours."""
    found, waiting = set[str](), set(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting |= set(_requirements(distribution(name)))
    return found - OURS


def _requirements(of: Distribution) -> Iterator[str]:
    for text in of.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def _link(of: Distribution, site: Path) -> None:
    for top in {file.parts[0] for file in of.files or ()} - {"..", "__pycache__"}:
        source = Path(str(of.locate_file(top))).resolve()
        if top.endswith(".dist-info"):  # uv reads no linked ones
            shutil.copytree(source, site / top)
        elif not (site / top).exists():
            (site / top).symlink_to(source)
