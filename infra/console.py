"""The built files of the web console. `python -m infra.console` builds them (`make console`).

They are built once for each state of the sources: the folder's name is a hash of them. Node is part
of the environment in .venv. Nothing here imports the CDK.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from infra import ROOT

SOURCES = ROOT / "console"
CLIENT = ROOT / "clients" / "typescript"  # its sources are compiled into the console
RUNBOOK = ROOT / "docs" / "runbook.md"  # the page of alarms shows its sections
CACHE = ROOT / ".cache" / "console"
_MADE = frozenset({"node_modules", "dist"})


def built() -> Path | None:
    """The folder of the files that were built from the current sources, if they were."""
    folder = CACHE / _digest()
    return folder if folder.is_dir() else None


def build() -> Path:
    """The folder of the built files; they are built unless they exist.

    Raises:
        subprocess.CalledProcessError: npm cannot fetch a package, or the sources have an error.
    """
    if (folder := built()) is not None:
        return folder
    folder = CACHE / _digest()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        draft = Path(scratch, "files")
        if not _is_installed():
            _npm("ci")
        _npm("run", "build", "--", "--outDir", str(draft), "--emptyOutDir")
        if not folder.exists():  # another process has built the same files meanwhile
            draft.replace(folder)
    _remove_others(folder)
    return folder


def _is_installed() -> bool:
    """Whether node_modules is newer than the lock."""
    mark, lock = SOURCES / "node_modules" / ".package-lock.json", SOURCES / "package-lock.json"
    return mark.exists() and mark.stat().st_mtime >= lock.stat().st_mtime


def _npm(*arguments: str) -> None:
    # npm prints to stderr, because another program may read stdout.
    npm = [str(Path(sys.executable).with_name("npm")), "--prefix", str(SOURCES), "--silent"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [*npm, *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "PATH": path})


def _digest() -> str:
    digest = hashlib.sha256()
    for path in _inputs():
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _inputs() -> Iterator[Path]:
    for place in (SOURCES, CLIENT / "src"):
        for path in sorted(place.rglob("*")):
            if path.is_file() and not _MADE & {*path.relative_to(ROOT).parts}:
                yield path
    yield RUNBOOK


def _remove_others(newest: Path) -> None:
    for folder in CACHE.iterdir():
        if folder != newest and len(folder.name) == len(newest.name):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    build()
