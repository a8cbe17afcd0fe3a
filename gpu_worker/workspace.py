"""The engine's folders on this disk, and holding folders that no node finds.

Between two prompts the engine's folders are empty. What a prompt has written is renamed into a
holding folder beside them before the next prompt starts, and waits there until it is stored.

    base/input, output, temp, datasets     the engine's: nodes read and write there
    base/comfyline/<hold>/                 the worker's alone: one folder for each attempt

A node may have written anything: links, pipes, folders that no user may enter, names of any bytes,
2,000 nested folders. So every entry is first renamed to a number in the holding folder, where no
node can exchange it any more, and only then looked at. Only regular files are ever opened.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gpu_worker.comfy.outputs import FOLDERS, MODEL_FOLDERS

HOLDING = "comfyline"
DATASETS = "datasets"  # of ComfyUI's nodes for training; no node reports a file in it
OWNED = (*FOLDERS, DATASETS)  # the folders that are empty between two prompts
ASIDE = "found-"  # begins the name of a folder with files that were there before the first worker
# How a folder and a file are opened: no link is followed, and a pipe does not block.
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY
_AT_ONCE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A regular file that was at `path` in the engine's folder `type`, and now is at `held`."""

    type: str
    path: str
    held: Path

    def open(self) -> IO[bytes]:
        """The file's bytes.

        Raises:
            OSError: it cannot be read.
        """
        return os.fdopen(os.open(self.held, _AT_ONCE), "rb")


@dataclass(slots=True)
class Hold:
    """One attempt's holding folder. Everything in it has a number as its name."""

    folder: Path
    lost: list[str] = field(default_factory=list)  # paths of what could not be moved or read
    _number: int = 0
    _unsorted: list[HeldFile] = field(default_factory=list)  # of any type, folders included

    @classmethod
    def temporary(cls) -> Hold:
        """A holding folder for the files of an engine on another disk."""
        return cls(Path(tempfile.mkdtemp(prefix=f"{HOLDING}-")))

    def new_path(self) -> Path:
        """A path in the folder that is not used yet."""
        self._number += 1
        return self.folder / str(self._number)

    def adopt(self, kind: str, path: str, folder: int) -> None:
        """Move an entry of any kind out of the open folder `folder`: the last part of `path`."""
        held = self.new_path()
        try:
            _move(_in_folder(folder, path.rpartition("/")[2]), held, folder)
        except FileNotFoundError:  # its writer has removed it meanwhile
            pass
        except OSError:
            self._lose(path)
        else:
            self.keep(HeldFile(kind, path, held))

    def keep(self, file: HeldFile) -> None:
        """Add a file that is in the folder already."""
        self._unsorted.append(file)

    def files(self) -> list[HeldFile]:
        """The regular files that were adopted, by their paths. Everything else is removed."""
        found = []
        while self._unsorted:
            entry = self._unsorted.pop()
            try:
                mode = entry.held.lstat().st_mode
                if stat.S_ISREG(mode):
                    found.append(entry)
                elif stat.S_ISDIR(mode):
                    self._empty(entry)
                else:
                    entry.held.unlink()
            except OSError:
                self._lose(entry.path)
        return sorted(found, key=lambda file: (OWNED.index(file.type), file.path))

    def remove(self) -> None:
        """Remove the folder and all that it holds. What cannot be removed is left and logged."""
        self._unsorted.clear()
        try:
            with _opened(self.folder) as folder:
                for name in _names(folder):
                    self.adopt("output", name, folder)
            for file in self.files():
                file.held.unlink()
            self.folder.rmdir()
        except OSError:
            _log.exception("hold not removed", extra={"action": "hold_not_removed"})

    def _empty(self, folder: HeldFile) -> None:
        with suppress(PermissionError):  # another user's: the worker may have a capability for it
            folder.held.chmod(0o700)
        with _opened(folder.held) as opened:
            for name in _names(opened):
                self.adopt(folder.type, f"{folder.path}/{name}", opened)
        folder.held.rmdir()

    def _lose(self, path: str) -> None:
        self.lost.append(path)
        _log.exception("file lost", extra={"action": "file_lost", "path": path})


class Workspace:
    """ComfyUI's base folder. The worker owns the folders `OWNED` in it, and empties them."""

    def __init__(self, base: Path) -> None:
        self.base = base.resolve()
        # Resolved once: an operator may have linked the folders, but no node may do so later.
        self._folders = {kind: (base / kind).resolve() for kind in OWNED}
        self._holding = self.base / HOLDING

    def prepare(self) -> None:
        """Empty the engine's folders, and remove what an earlier worker has left.

        If no worker has used the folders before, the files may be a person's. Then they are moved
        into a folder beside the others.
        """
        if self._holding.exists():
            self._remove_holds()
            self.clear()
        else:
            self._keep_aside()
        self._make_model_folders()

    def new_hold(self) -> Hold:
        """A holding folder for one attempt."""
        return Hold(self._new_folder())

    def clear(self) -> None:
        """Remove everything from the engine's folders."""
        if self._is_empty():
            return
        hold = self.new_hold()
        self.take_all(hold)
        hold.remove()

    def _is_empty(self) -> bool:
        return not any(True for kind in OWNED for _ in self._contents(kind))

    def take_all(self, hold: Hold) -> None:
        """Move everything from the engine's folders into `hold`."""
        for kind in OWNED:
            for folder, path in self._contents(kind):
                hold.adopt(kind, path, folder)
        self._make_model_folders()

    def take(self, kind: str, path: str, hold: Hold) -> None:
        """Move one file into `hold`; nothing if there is no such file."""
        *folders, name = path.split("/")
        with suppress(OSError, ValueError), self._entered(kind, *folders) as folder:
            if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                hold.adopt(kind, path, folder)

    def place(self, file: Path, name: str) -> None:
        """Move a file from a hold into the input folder, in place of one of the same name."""
        file.chmod(0o644)  # the engine may be another user
        with self._entered("input") as folder:
            _move(file, _in_folder(folder, name), folder)

    def drop(self, name: str) -> None:
        """Remove a file from the input folder, if it is there."""
        with self._entered("input") as folder, suppress(OSError):
            os.unlink(name, dir_fd=folder)

    def _contents(self, kind: str) -> Iterator[tuple[int, str]]:
        """What nodes have put into one of the engine's folders, each with the open folder above."""
        with self._entered(kind) as folder:
            for name in _names(folder):
                if kind == "output" and name in MODEL_FOLDERS:
                    with suppress(OSError), _opened(_in_folder(folder, name)) as models:
                        yield from ((models, f"{name}/{inner}") for inner in _names(models))
                        continue
                yield folder, name

    def _make_model_folders(self) -> None:
        # ComfyUI has perhaps listed such a folder. If it is gone then, ComfyUI refuses every prompt
        # with a node that loads such a model.
        with self._entered("output") as output:
            for name in MODEL_FOLDERS:
                with suppress(OSError):  # most often it exists
                    os.mkdir(name, dir_fd=output)
                    with _opened(_in_folder(output, name)) as made:
                        os.fchmod(made, 0o777)  # the engine may be another user

    def _remove_holds(self) -> None:
        left = self.new_hold()
        with _opened(self._holding) as folder:
            for name in _names(folder):
                if not name.startswith(ASIDE) and name != left.folder.name:
                    left.adopt("output", name, folder)
        left.remove()

    def _keep_aside(self) -> None:
        aside = self._new_folder(prefix=ASIDE)
        for kind in OWNED:
            (aside / kind).mkdir()
            with self._entered(kind) as folder:
                for name in _names(folder):
                    _move(_in_folder(folder, name), aside / kind / name, folder)
            with suppress(OSError):
                (aside / kind).rmdir()
        if any(aside.iterdir()):
            extra = {"action": "files_kept_aside", "folder": str(aside)}
            _log.warning("the engine's folders were not empty", extra=extra)
        else:
            aside.rmdir()

    @contextmanager
    def _entered(self, kind: str, *below: str) -> Iterator[int]:
        """One of the engine's folders, or one below it, opened without following a link."""
        folder = self._root(kind)
        try:
            for name in below:
                if name in ("", ".", ".."):
                    raise FileNotFoundError(errno.ENOENT, "not below the folder")
                deeper = os.open(name, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = deeper
            yield folder
        finally:
            os.close(folder)

    def _root(self, kind: str) -> int:
        path = self._folders[kind]
        try:
            return os.open(path, _FOLDER)
        except OSError:  # a node has removed it, or put something else in its place
            with suppress(OSError):
                path.unlink()
            with suppress(FileExistsError):
                path.mkdir(parents=True)
                path.chmod(0o777)  # the engine may be another user
            return os.open(path, _FOLDER)

    def _new_folder(self, prefix: str = "") -> Path:
        self._holding.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=prefix, dir=self._holding))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    folder = os.open(path, _FOLDER)
    try:
        yield folder
    finally:
        os.close(folder)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _in_folder(folder: int, name: str) -> Path:
    """The path of an entry of an open folder, wherever that folder is now."""
    return Path(f"/proc/self/fd/{folder}/{name}")


def _move(source: Path, target: Path, folder: int) -> None:
    """Rename an entry from or to an open folder; between two file systems, copy it."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if subprocess.run(["mv", "--", source, target], check=False, pass_fds=[folder]).returncode:
            raise OSError(errno.EXDEV, "not moved to another file system", source.name) from error
