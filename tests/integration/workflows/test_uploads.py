"""An uploaded file reaches every loader, as itself."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from tests.support.whole_service import WholeService

# The tests of this module share the service and its event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")
LOADED = ["1", 0]


@dataclass(frozen=True, slots=True)
class Loader:
    """The input of a loader that takes the file, and the class that saves the loaded value."""

    class_type: str
    name: str
    saver: str
    saved: Mapping[str, Any]
    more: Mapping[str, Any]


SOUND = Loader("LoadAudio", "audio", "SaveAudio", {"audio": LOADED, "filename_prefix": "a"}, {})
SAVED_VIDEO = {"video": LOADED, "filename_prefix": "a", "format": "auto", "codec": "auto"}
VIDEO = Loader("LoadVideo", "file", "SaveVideo", SAVED_VIDEO, {})
VHS = Loader("VHS_LoadVideo", "video", "SaveVideo", SAVED_VIDEO, {})
MODEL = Loader(
    "Load3D",
    "model_file",
    "SaveGLB",
    {"mesh": ["1", 1], "filename_prefix": "a"},
    {"image": {}, "width": 64, "height": 64},
)
FILES = [
    (SOUND, "a.wav", "audio/wav"),
    (SOUND, "a.flac", "audio/flac"),
    (SOUND, "a.mp4", "video/mp4"),
    (VIDEO, "a.mp4", "video/mp4"),
    (VIDEO, "a.webm", "video/webm"),
    (VHS, "a.mp4", "video/mp4"),
    (VHS, "a.gif", "image/gif"),
    (VHS, "a.webp", "image/webp"),
    (MODEL, "a.glb", "model/gltf-binary"),
    (MODEL, "a.obj", "model/obj"),
]


@pytest.mark.parametrize("node_id", ["1", "23.0.0.1", "12:3"])
@pytest.mark.parametrize(
    ("loader", "name", "content_type"),
    FILES,
    ids=[f"{loader.class_type} {name}" for loader, name, _ in FILES],
)
async def test_a_loader_gets_the_bytes_that_were_uploaded(
    service: WholeService, loader: Loader, name: str, content_type: str, node_id: str
) -> None:
    content = f"the bytes of {name}".encode()
    reference = await service.upload(name, content, content_type)
    saved = {
        key: [node_id, value[1]] if isinstance(value, list) else value
        for key, value in loader.saved.items()
    }
    graph = {
        node_id: {"class_type": loader.class_type, "inputs": {**loader.more, loader.name: "x"}},
        "save": {"class_type": loader.saver, "inputs": saved},
    }
    view = await service.run({"workflow": graph, "inputs": {f"{node_id}.{loader.name}": reference}})
    assert view["status"] == "succeeded", view["error"]
    (made,) = view["result"]["artifacts"]
    assert service.read(made).endswith(content)
    assert service.left_behind() == []


@pytest.mark.parametrize("loader", ["LoadImage", "LoadImageMask"])
async def test_a_picture_reaches_the_classes_that_load_pictures(
    service: WholeService, loader: str
) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 4), (200, 100, 50)).save(buffer, "PNG")
    reference = await service.upload("a.png", buffer.getvalue(), "image/png")
    inputs = {"image": "x", **({"channel": "red"} if loader == "LoadImageMask" else {})}
    preview = (
        {"class_type": "MaskPreview", "inputs": {"mask": LOADED}}
        if loader == "LoadImageMask"
        else {"class_type": "PreviewImage", "inputs": {"images": LOADED}}
    )
    graph = {"1": {"class_type": loader, "inputs": inputs}, "2": preview}
    view = await service.run({"workflow": graph, "inputs": {"1.image": reference}})
    assert view["status"] == "succeeded", view["error"]
    (made,) = view["result"]["artifacts"]
    picture = Image.open(io.BytesIO(service.read(made))).convert("RGB")
    assert picture.size == (8, 4)
    assert picture.getpixel((0, 0))[0] == 200


async def test_a_latent_that_one_job_made_is_an_input_of_the_next(service: WholeService) -> None:
    empty = {"width": 64, "height": 128, "batch_size": 3}
    save = {"class_type": "SaveLatent", "inputs": {"samples": LOADED, "filename_prefix": "a"}}
    made = await service.run(
        {"workflow": {"1": {"class_type": "EmptyLatentImage", "inputs": empty}, "2": save}}
    )
    (latent,) = made["result"]["artifacts"]
    content = service.read(latent)
    reference = await service.upload("a.latent", content, latent["content_type"])
    graph = {"1": {"class_type": "LoadLatent", "inputs": {"latent": "x"}}, "2": save}
    view = await service.run({"workflow": graph, "inputs": {"1.latent": reference}})
    assert view["status"] == "succeeded", view["error"]
    assert b"64,128,3" in service.read(view["result"]["artifacts"][0])
