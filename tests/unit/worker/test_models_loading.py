"""Which jobs a worker may take while models are still fetched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.lock import Model
from gpu_worker.models.loading import Loading
from tests.support.eventually import WITHIN

NODES = EngineNodes.parse(
    {
        "CheckpointLoaderSimple": {"output_node": False, "python_module": "nodes"},
        "CLIPTextEncode": {"output_node": False, "python_module": "nodes"},
        "TeamLoader": {"output_node": False, "python_module": "custom_nodes.team"},
    }
)
FLUX, SDXL = (
    Model(path=path, sha256="0" * 64, bytes=1)
    for path in ("checkpoints/flux-dev.safetensors", "checkpoints/xl/sdxl_base.safetensors")
)


def a_graph(text: Any, class_type: str = "CheckpointLoaderSimple") -> Graph:
    return {"1": {"class_type": class_type, "inputs": {"ckpt_name": text, "steps": 20}}}


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("sdxl_base.safetensors", False),
        ("flux-dev.safetensors", True),
        ("FLUX-DEV.safetensors", True),
        ("flux-dev", True),
        ("flux", True),  # as `taesd` stands for taesd_decoder.safetensors
        ("a fox, embedding:flux-dev, snow", True),
        (["flux-dev.safetensors", 0], True),
        ({"a": ["x", {"b": "flux-dev.safetensors"}]}, True),
        ("", False),
        (["4", 0], False),
        (7, False),
    ],
)
async def test_a_graph_lacks_the_models_that_its_texts_resemble(text: Any, lacks: bool) -> None:
    loading = Loading([FLUX])
    assert loading.lacks(a_graph(text), NODES) is lacks


async def test_a_model_in_a_folder_is_found_by_each_of_its_names() -> None:
    loading = Loading([SDXL])
    for text in ("xl/sdxl_base.safetensors", "sdxl_base.safetensors", "xl", "sdxl_base"):
        assert loading.lacks(a_graph(text), NODES)
    assert not loading.lacks(a_graph("checkpoints"), NODES)


@pytest.mark.parametrize("class_type", ["TeamLoader", "Unknown"])
async def test_a_node_that_is_not_comfyuis_own_waits_for_all_models(class_type: str) -> None:
    loading = Loading([FLUX])
    assert loading.lacks(a_graph("sdxl", class_type), NODES)
    assert loading.lacks(a_graph("sdxl"), EngineNodes())  # nothing is known of the engine
    loading.ready(FLUX)
    await asyncio.sleep(0)
    assert not loading.lacks(a_graph("sdxl", class_type), NODES)
    assert not loading.is_under_way


async def test_the_wait_ends_when_the_graphs_own_models_are_there() -> None:
    loading = Loading([FLUX, SDXL])
    waiting = asyncio.create_task(loading.arrive(a_graph("flux-dev.safetensors"), NODES))
    await asyncio.to_thread(loading.ready, SDXL)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await asyncio.to_thread(loading.ready, FLUX)
    assert await asyncio.wait_for(waiting, WITHIN)


async def test_the_wait_ends_when_the_models_will_not_come() -> None:
    loading = Loading([FLUX])
    waiting = asyncio.create_task(loading.arrive(a_graph("flux-dev.safetensors"), NODES))
    await asyncio.sleep(0)
    loading.fail()
    assert await asyncio.wait_for(waiting, WITHIN) is False
