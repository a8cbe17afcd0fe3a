"""Decide which graphs are tidy: all nodes choose unused file names and report what they write.

Two tidy graphs may run one right after the other, because each file is known to be of one of them.
A graph that is not known to be tidy counts as not tidy. If that is wrong, it costs some
milliseconds; a wrong decision the other way could give a file to the wrong job.

The classes are those of ComfyUI 0.33. Its writers take the next free number behind their prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph
from gpu_worker.comfy.readers import reads_folders, texts

# Output nodes of ComfyUI itself that report each file that they write, or write none. Its others,
# such as CheckpointSave, ModelSave, VAESave, CLIPSave, LoraSave, SaveLoRA, Preview3D and the nodes
# that save data sets, report nothing or choose fixed names.
_WRITERS = frozenset(
    {
        *("SaveImage", "SaveImageAdvanced", "SaveAnimatedPNG", "SaveAnimatedWEBP", "SaveSVGNode"),
        *("SaveAudio", "SaveAudioMP3", "SaveAudioOpus", "SaveAudioAdvanced", "SaveLatent"),
        *("SaveVideo", "SaveWEBM", "SaveGLB"),
        *("PreviewImage", "PreviewAudio", "PreviewAny", "MaskPreview", "ImageCompare"),
    }
)
# Nodes of ComfyUI itself that write files although they are no output nodes.
_UNTIDY = ("Rodin3D", "Tripo", "Meshy", "Tencent")
# Nodes of packs that write no file, or only numbered files that they report.
_OF_PACKS = frozenset(
    {
        *("SaveImageWebsocket", "ETN_SendImageWebSocket"),
        *("ShowText|pysssss", "Image Comparer (rgthree)", "Reroute", "Note", "PrimitiveNode"),
    }
)
_SAME_NUMBER = "%batch_num%"  # with it ComfyUI overlooks existing files, and overwrites them


def is_tidy(graph: Graph, nodes: EngineNodes) -> bool:
    """Whether the nodes of this graph report all files that they write."""
    return all(_is_tidy_node(node, nodes) for node in graph.values())


def _is_tidy_node(node: Mapping[str, Any], nodes: EngineNodes) -> bool:
    name = node["class_type"]
    if reads_folders(node) or any(_SAME_NUMBER in text for text in texts(node["inputs"])):
        return False
    if name in _OF_PACKS:
        return True
    if not nodes.is_core(name) or name.startswith(_UNTIDY):
        return False
    return name in _WRITERS or not nodes.is_output(name)
