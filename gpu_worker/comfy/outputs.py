"""Read what the nodes of a prompt report, under any name that a node gives it. Pure: no I/O.

`outputs` of a history entry maps a node to keys (`images`, `gifs`, `audio`, `text`, …), and each
key to a list. Nodes put into it objects with a filename, names of files, texts and other values,
also nested. Everything is taken: files, texts, and every other value by node and key.

Two habits of ComfyUI and its nodes are undone here. ComfyUI joins the lists of a node that runs
several times, and so splits a plain string into its characters. Some nodes name a file by its path,
or by a pair of name and folder, instead of by an object.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyline.contract.media_types import kind_of
from gpu_worker.comfy.shapes import fields, items

FOLDERS = ("output", "temp", "input")  # the types of ComfyUI's files
# Folders in `output` that ComfyUI searches for models, too.
MODEL_FOLDERS = frozenset({"checkpoints", "clip", "vae", "diffusion_models", "loras"})
MAX_DEPTH = 20  # of nested values; deeper parts are kept as values and not searched for files
MAX_PATH = 4096  # characters, as in Linux; a longer string is no path


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """A file in one of ComfyUI's folders; `type` says in which (output, temp, input)."""

    node: str
    filename: str
    subfolder: str
    type: str
    kind: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return posixpath.basename(self.filename)

    @property
    def path(self) -> str:
        """Where the file is below the folder of its type."""
        return posixpath.normpath(posixpath.join(self.subfolder, self.filename))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputText:
    """A text that a node shows and does not write to a file."""

    node: str
    text: str
    number: int  # among the texts of its node
    kind: str = "text"

    @property
    def name(self) -> str:
        """The name of the file that it is stored as."""
        return f"text_{self.node.replace('/', '_')}_{self.number}.txt"


@dataclass(slots=True)
class Reported:
    """What the nodes of a prompt report; each file once, in the order of the nodes."""

    files: dict[OutputFile, None] = field(default_factory=dict)  # an ordered set
    texts: list[OutputText] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)  # by node and key
    mentions: dict[str, str] = field(default_factory=dict)  # what may be a file's path -> node

    def node_of(self, path: str) -> str | None:
        """The node that mentions the file at this path of a folder; None if none does."""
        return self.mentions.get(path) or self.mentions.get(posixpath.basename(path))


def reported(
    outputs: Mapping[str, Any],
    *,
    base: str | None = None,
    returns_lists: Callable[[str], bool] = lambda _node: False,
) -> Reported:
    """Everything that the nodes report. `base`: the folder above the engine's three, if known.

    `returns_lists`: whether a node always reports lists, so that its lists are no split strings.
    """
    found = Reported()
    for node, keys in outputs.items():
        animated = any(items(fields(keys).get("animated")))
        for key, value in fields(keys).items():
            if key not in _ABOUT_FILES:
                values = value if isinstance(value, list) else [value]
                whole = values if returns_lists(node) else _unsplit(values)
                _Reader(found, node, key, base, animated=animated).read(whole)
    return found


_ABOUT_FILES = ("animated",)  # says whether the pictures beside it move
# Under these keys a plain string is the name or the path of a file.
_FILE_KEYS = ("images", "image", "gifs", "video", "videos", "audio", "files", "file", "3d", "mesh")


class _Reader:
    """Reads the value of one key of one node."""

    def __init__(
        self, found: Reported, node: str, key: str, base: str | None, *, animated: bool
    ) -> None:
        self._found, self._node, self._key, self._base = found, node, key, base
        self._is_animated = animated and key == "images"

    def read(self, values: list[Any]) -> None:
        """Take the files and texts; the rest is a value of the node."""
        rest = self._without_files(values)
        if self._key == "text":
            texts = [item for item in rest if isinstance(item, str)]
            rest = [item for item in rest if not isinstance(item, str)]
            self._found.texts.extend(
                OutputText(node=self._node, text=text, number=number)
                for number, text in enumerate(texts)
            )
        if rest:
            self._found.values.setdefault(self._node, {})[self._key] = rest

    def _without_files(self, values: list[Any], depth: int = 0) -> list[Any]:
        rest = []
        last: str | None = None  # the name that the value before is, if it is one
        for value in values:
            name, last = last, None
            if _is_file(value):
                self._add(value["filename"], value.get("subfolder"), value.get("type"))
            elif self._key in _FILE_KEYS and _is_file_name(value):
                last = value
                self._add(value)
            elif name is not None and isinstance(value, str):
                self._move(name, value)
            elif isinstance(value, (list, dict)) and value and depth < MAX_DEPTH:
                rest.extend(self._nested(value, depth + 1))
            else:
                self._mention(value)
                rest.append(value)
        return rest

    def _nested(self, value: list[Any] | dict[str, Any], depth: int) -> list[Any]:
        """The value without files; empty if it holds nothing else."""
        if isinstance(value, list):
            left = self._without_files(value, depth)
            return [left] if left else []
        kept = {name: self._without_files([item], depth) for name, item in value.items()}
        named = {name: rest[0] for name, rest in kept.items() if rest}
        return [named] if named else []

    def _add(self, filename: str, subfolder: Any = None, folder: Any = None) -> None:
        self._found.files.setdefault(self._file(filename, subfolder, folder))

    def _move(self, name: str, folder: str) -> None:
        """The pair of name and folder is one file: `name` was counted as another file."""
        self._found.files.pop(self._file(name, None, None), None)
        is_type = posixpath.basename(folder) in FOLDERS
        self._add(
            name, None if is_type else folder, posixpath.basename(folder) if is_type else None
        )

    def _file(self, filename: str, subfolder: Any, folder: Any) -> OutputFile:
        path = posixpath.join(str(subfolder or ""), filename)
        located = _located(path, self._base) if path.startswith("/") else None
        kind = kind_of(filename)
        return OutputFile(
            node=self._node,
            filename=located[1] if located else filename,
            subfolder="" if located else str(subfolder or ""),
            type=located[0] if located else str(folder or "output"),
            kind="animation" if self._is_animated and kind == "image" else kind,
        )

    def _mention(self, value: Any) -> None:
        if _is_file_name(value):
            located = _located(value, self._base)
            self._found.mentions.setdefault(located[1] if located else value, self._node)


def _unsplit(values: list[Any]) -> list[Any]:
    """ComfyUI joins lists, and so a plain string became the list of its characters."""
    is_split = len(values) > 1 and all(isinstance(v, str) and len(v) == 1 for v in values)
    return ["".join(values)] if is_split else values


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("filename"), str)


def _is_file_name(value: Any) -> bool:
    """Whether it may be the name of a file: a string that ends with a suffix of a known kind."""
    if not isinstance(value, str) or len(value) > MAX_PATH:
        return False
    return kind_of(value) != "file"


def _located(path: str, base: str | None) -> tuple[str, str] | None:
    """The type and the path below that folder, of a path that leads into one of the three folders.

    `base` is the folder that holds them. Another absolute path is read from its last folder of such
    a name, because a foreign engine does not tell where its folders are.
    """
    if base is not None and path.startswith(f"{base}/"):
        path = path.removeprefix(f"{base}/")
    parts = path.split("/")
    where = range(len(parts) - 1) if path.startswith("/") else range(min(1, len(parts) - 1))
    places = [place for place in where if parts[place] in FOLDERS]
    return (parts[places[-1]], "/".join(parts[places[-1] + 1 :])) if places else None
