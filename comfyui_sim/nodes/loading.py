"""How classes read files of the input folder: their checks, and what their cached results hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from comfyui_sim import files
from comfyui_sim.node_types import Inputs, NodeContext
from comfyui_sim.options import Folders

Check = Callable[[Folders, Inputs], tuple[str, str] | None]


def exists(name: str, complaint: str, *, may_be: tuple[str, ...] = ()) -> Check:
    """A check that the file of an input exists; some classes take further words instead."""

    def check(folders: Folders, inputs: Inputs) -> tuple[str, str] | None:
        given = inputs[name]
        if given in may_be or files.input_file(folders, given) is not None:
            return None
        return name, f"{complaint}: {given}"

    return check


def hash_of(name: str) -> Callable[[Folders, Inputs], Any]:
    """The file's hash, because another file under the same name is a different input."""

    def content(folders: Folders, inputs: Inputs) -> str:
        path = files.input_file(folders, inputs[name])
        return "" if path is None else files.digest(path)

    return content


def path_of(context: NodeContext, name: str) -> Path:
    """The path of an input's file.

    Raises:
        FileNotFoundError: it has gone since the prompt was validated.
    """
    path = files.input_file(context.folders, name)
    if path is None:
        raise FileNotFoundError(2, "No such file or directory", name)
    return path
