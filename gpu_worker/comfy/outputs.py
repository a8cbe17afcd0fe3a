"""Read the outputs of a prompt from its history entry, under any name that a node gives them.

`outputs` maps a node to keys (`images`, `gifs`, `audio`, `text`, …), and each key to a list of
objects with a filename, of strings, or of booleans (`animated`). Files and texts are taken.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comfyline.service.files.media_types import kind_of
from gpu_worker.comfy.shapes import items


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
        return f"text_{self.node}_{self.number}.txt"


Output = OutputFile | OutputText


def outputs_of(outputs: Mapping[str, Any], *, with_temp: bool = False) -> tuple[Output, ...]:
    """Every file and text once, in the order of nodes; files of type temp only `with_temp`."""
    found = dict.fromkeys(
        output
        for node, keys in outputs.items()
        if isinstance(keys, dict)
        for key, values in keys.items()
        if isinstance(values, list)
        for output in _of_key(node, key, values, animated=any(items(keys.get("animated"))))
    )
    wanted = (o for o in found if with_temp or isinstance(o, OutputText) or o.type != "temp")
    return tuple(wanted)


def _of_key(node: str, key: str, values: list[Any], *, animated: bool) -> Iterator[Output]:
    for number, value in enumerate(values):
        if isinstance(value, dict) and isinstance(value.get("filename"), str):
            yield OutputFile(
                node=node,
                filename=value["filename"],
                subfolder=str(value.get("subfolder") or ""),
                type=str(value.get("type") or "output"),
                kind=_kind(value["filename"], key, animated=animated),
            )
        elif isinstance(value, str) and key == "text":
            yield OutputText(node=node, text=value, number=number)


def _kind(filename: str, key: str, *, animated: bool) -> str:
    kind = kind_of(filename)
    return "animation" if animated and kind == "image" and key == "images" else kind
