"""Nodes of ComfyUI itself that read files which an earlier prompt may have had.

ComfyUI answers a node from its cache if its inputs are the same. Most nodes that read a file also
compare its content. These do not: a later prompt, which may be another owner's, would get what
was in files that the worker has taken away.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from comfyline.service.graphs.graph import Graph
from gpu_worker.comfy.outputs import FOLDERS, MODEL_FOLDERS

# Beginnings of the names of classes that read folders, or files that they do not compare.
_CLASSES = ("LoadTrainingDataset", "LoadImageOutput", "Load3D")
_FROM_FOLDER = "FromFolder"  # in the names of classes that read whole folders
_ENDS = tuple(f"[{folder}]" for folder in FOLDERS)  # of the name of a file in another folder


def reads_folders(node: Mapping[str, Any]) -> bool:
    """Whether the node reads whole folders, or names a file in one of the engine's folders."""
    name = node["class_type"]
    if name.startswith(_CLASSES) or _FROM_FOLDER in name:
        return True
    return any(text.rstrip().endswith(_ENDS) for text in texts(node["inputs"]))


def saves_models(graph: Graph) -> bool:
    """Whether the graph may write a model where its own nodes can load it by a linked name."""
    return any(
        _is_in_model_folder(text) for node in graph.values() for text in texts(node["inputs"])
    )


def _is_in_model_folder(path: str) -> bool:
    folder, _, rest = posixpath.normpath(path).partition("/")
    return bool(rest) and folder in MODEL_FOLDERS


def texts(value: Any) -> Iterator[str]:
    """All texts in the inputs of a node, however deep."""
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from texts(part)
        case list():
            for part in value:
                yield from texts(part)
