"""Check out the sources that the engine lock names: `python -m gpu_worker.checkout LOCK FOLDER`.

The image's build runs it. ComfyUI goes into FOLDER, and each custom node below its `custom_nodes`.
It prints a requirements file that includes the requirements files of all of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from comfyline.service.graphs.lock import EngineLock, Source


class WrongCommit(Exception):
    """A repository answered with another commit than the lock names."""


def check_out_all(lock: EngineLock, folder: Path) -> list[Path]:
    """Check out the engine and its custom nodes; the requirements files that they have.

    Raises:
        WrongCommit: a repository answers with another commit than was asked for.
        subprocess.CalledProcessError: git cannot fetch a commit; git has printed why.
    """
    nodes = {folder / "custom_nodes" / node.name: node for node in lock.custom_nodes}
    places = {folder: lock.comfyui, **nodes}
    for place, source in places.items():
        check_out(source, place)
    return [path for place in places if (path := place / "requirements.txt").is_file()]


def check_out(source: Source, folder: Path) -> None:
    """Check out the files of one commit, without the repository's history."""
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet")
    _git(folder, "fetch", "--quiet", "--depth", "1", source.repository, source.commit)
    found = _git(folder, "rev-parse", "FETCH_HEAD")
    if found != source.commit:  # a branch can have a commit's hash as its name
        raise WrongCommit(f"{source.repository}: asked for {source.commit}, got {found}")
    _git(folder, "checkout", "--quiet", found)
    shutil.rmtree(folder / ".git")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],  # the git of the image's build stage
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


def main() -> None:
    """Run the command that the module describes."""
    lock, folder = map(Path, sys.argv[1:])
    for path in check_out_all(EngineLock.parse(lock.read_text(encoding="utf-8")), folder):
        print(f"-r {path}")


if __name__ == "__main__":
    main()
