"""Check out what the engine lock names: `python -m gpu_worker.checkout LOCK FOLDER`.

It runs while the image is built. ComfyUI comes into the folder, each custom node below its
`custom_nodes`; printed is a requirements file that names those of all of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from comfyline.service.graphs.lock import EngineLock, Source


class WrongCommit(Exception):
    """The repository has something else under that name."""


def check_out_all(lock: EngineLock, folder: Path) -> list[Path]:
    """Check out the engine and its custom nodes; the requirements files that they have.

    Raises:
        WrongCommit: a repository answers with another commit than was asked for.
        subprocess.CalledProcessError: git cannot fetch one; it has said why.
    """
    nodes = {folder / "custom_nodes" / node.name: node for node in lock.custom_nodes}
    places = {folder: lock.comfyui, **nodes}
    for place, source in places.items():
        check_out(source, place)
    return [path for place in places if (path := place / "requirements.txt").is_file()]


def check_out(source: Source, folder: Path) -> None:
    """The files of that commit, without the repository's history."""
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet")
    _git(folder, "fetch", "--quiet", "--depth", "1", source.repository, source.commit)
    found = _git(folder, "rev-parse", "FETCH_HEAD")
    if found != source.commit:  # a branch may be called like a commit
        raise WrongCommit(f"{source.repository} answers {source.commit} with {found}")
    _git(folder, "checkout", "--quiet", found)
    shutil.rmtree(folder / ".git")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],  # the builder's git
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


def main() -> None:
    """See the module."""
    lock, folder = map(Path, sys.argv[1:])
    for path in check_out_all(EngineLock.parse(lock.read_text(encoding="utf-8")), folder):
        print(f"-r {path}")


if __name__ == "__main__":
    main()
