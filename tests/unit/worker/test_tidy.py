"""A graph is tidy only if all its files are reported, under unused names."""

from __future__ import annotations

from typing import Any

import pytest

from comfyline.service.graphs.engine_nodes import EngineNodes
from gpu_worker.comfy.tidy import is_tidy
from tests.support import recordings

CORE = EngineNodes.parse(recordings.object_info())
PACK = EngineNodes.parse(
    {"PackNode": {"output_node": False, "python_module": "custom_nodes.pack", "input": {}}}
)


def of_core(*outputs: str) -> EngineNodes:
    """An engine in which these classes are output nodes of ComfyUI itself."""
    about = {"output_node": True, "python_module": "comfy_extras.nodes_x", "input": {}}
    return EngineNodes.parse(dict.fromkeys(outputs, about))


def graph(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"1": {"class_type": class_type, "inputs": inputs}}


@pytest.mark.parametrize("class_type", ["SaveImage", "PreviewImage", "KSampler", "EmptyImage"])
def test_nodes_of_comfyui_are_tidy(class_type: str) -> None:
    assert is_tidy(graph(class_type, filename_prefix="a/b"), CORE)
    assert not is_tidy(graph(class_type), EngineNodes())


@pytest.mark.parametrize(
    "class_type",
    [
        *("CheckpointSave", "ModelSave", "VAESave", "CLIPSave", "LoraSave", "SaveLoRA"),
        *("SaveTrainingDataset", "SaveImageDataSetToFolder", "Preview3D", "SomeNewSaver"),
        *("LoadImageDataSetFromFolder", "LoadTrainingDataset", "LoadImageOutput"),
    ],
)
def test_nodes_that_do_not_report_or_that_read_folders_are_not(class_type: str) -> None:
    assert not is_tidy(graph(class_type), of_core(class_type))


@pytest.mark.parametrize("class_type", ["PackNode", "Unknown"])
def test_nodes_of_packs_are_not(class_type: str) -> None:
    assert not is_tidy(graph(class_type), PACK)


def test_a_pack_node_that_is_known_to_write_nothing_is_tidy() -> None:
    assert is_tidy(graph("ShowText|pysssss", text="hello"), CORE)


@pytest.mark.parametrize(
    "inputs",
    [
        {"image": "a.png [output]"},
        {"image": "a.png [temp] "},
        {"image": {"__value__": ["a.png [input]"]}},
        {"filename_prefix": "frame_%batch_num%"},
    ],
)
def test_names_of_existing_files_are_not(inputs: dict[str, Any]) -> None:
    assert not is_tidy(graph("SaveImage", **inputs), CORE)


def test_one_untidy_node_is_enough() -> None:
    both = {**graph("SaveImage"), "2": {"class_type": "Unknown", "inputs": {}}}
    assert not is_tidy(both, CORE)
