"""Where a job's files are saved: under safe names, inside the directory, over no other file.

A file that is still arriving is kept in the same directory as a hidden part, named after its
content. So a transfer that breaks, or a process that dies, continues from there. Others can guess
that name, and may be able to write to the directory too. So a part is never written through a link.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from comfyline.client.errors import DownloadFailed
from comfyline.contract.texts import UNSAFE
from comfyline.contract.v1.results import ArtifactView

MAX_NAME_BYTES = 200  # most file systems allow 255; this leaves room for a number
_LONGEST_SUFFIX = 20

# Characters that Windows forbids, and characters that are unsafe to print.
_FORBIDDEN = re.compile(f'[<>:"|?*{UNSAFE}]')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")  # on Windows

# To append to a part. Windows has neither O_NOFOLLOW nor O_NONBLOCK, without which a pipe blocks.
_APPEND = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_APPEND
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


def safe_name(name: str) -> str:
    """A visible file name without any directory, for any `name`; always the same for the same."""
    last = re.split(r"[/\\]", name)[-1]
    clean = _FORBIDDEN.sub("_", last).strip(" .")
    if _DEVICES.match(clean):
        clean = "_" + clean
    suffix = Path(clean).suffix
    if len(suffix) > _LONGEST_SUFFIX:
        suffix = ""  # the dot is part of the name and does not begin a file type
    stem = clean.removesuffix(suffix).encode()[: MAX_NAME_BYTES - len(suffix.encode())]
    return (stem.decode(errors="ignore") + suffix) or "artifact"


def distinct(artifacts: Sequence[ArtifactView]) -> list[int]:
    """The indexes of the artifacts to fetch: of those with equal content only the first.

    Two transfers of the same content would write to the same part.
    """
    first = {a.sha256.lower(): n for n, a in reversed(list(enumerate(artifacts)))}
    return sorted(first.values())


def is_saved(directory: Path, artifact: ArtifactView) -> bool:
    """Whether the directory has this content already, under one of the artifact's names."""
    taken = itertools.takewhile(os.path.lexists, _candidates(directory, artifact.name))
    return any(holds(path, artifact) for path in taken)


def part_path(directory: Path, artifact: ArtifactView) -> Path:
    """Where the arriving file is kept."""
    # The service's digest is hashed again, so that any text it may hold becomes a safe name.
    digest = hashlib.sha256(artifact.sha256.lower().encode()).hexdigest()[:32]
    return directory / f".comfyline-{digest}.part"


def part_size(part: Path) -> int:
    """How many bytes of the part have arrived; 0 if there is no part.

    Raises:
        DownloadFailed: it is a link, or no ordinary file.
    """
    try:
        return _checked(part, part.lstat()).st_size
    except FileNotFoundError:
        return 0


def open_part(part: Path, size: int) -> IO[bytes]:
    """The part, cut to its first `size` bytes and ready to take the next ones.

    Raises:
        DownloadFailed: it is a link, or no ordinary file. Nothing was changed.
    """
    try:
        file = os.fdopen(os.open(part, _APPEND, 0o666), "ab")
    except OSError as error:
        if part.is_symlink():
            raise _not_ordinary(part) from error
        raise
    try:
        _checked(part, os.fstat(file.fileno()))
        file.truncate(size)
    except BaseException:
        file.close()
        raise
    return file


def _checked(part: Path, status: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise _not_ordinary(part)
    return status


def _not_ordinary(part: Path) -> DownloadFailed:
    return DownloadFailed(f"{part} is a link or no ordinary file: remove it, then try again")


def holds(path: Path, artifact: ArtifactView) -> bool:
    """Whether the file at `path` has the artifact's content. A link holds nothing."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != artifact.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256.lower()


def place_all(artifacts: Sequence[ArtifactView], directory: Path) -> list[Path]:
    """Give each artifact its name, now that the parts are complete; the paths, in order."""
    paths: list[Path] = []
    first: dict[str, Path] = {}  # of each content
    for artifact in artifacts:
        path = _place(artifact, directory, first.get(artifact.sha256))
        first.setdefault(artifact.sha256, path)
        paths.append(path)
    return paths


def _place(artifact: ArtifactView, directory: Path, same: Path | None) -> Path:
    """Move the part to the first free name, unless a name before it already has this content.

    `same` is a file with this content that was placed before, and took the part with it.
    """
    for path in _candidates(directory, artifact.name):
        if _is_claimed(path):
            part = part_path(directory, artifact)
            if same is not None:
                with same.open("rb") as source, open_part(part, 0) as file:
                    shutil.copyfileobj(source, file)
            return part.replace(path)
        if holds(path, artifact):
            return path
    raise AssertionError("unreachable: there is always another number")


def _is_claimed(path: Path) -> bool:
    """Take the name, if it is free: a rename alone would overwrite another process's file."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _candidates(directory: Path, name: str) -> Iterator[Path]:
    path = directory / safe_name(name)
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
