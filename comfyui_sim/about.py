"""Routes that describe the server: node classes, models, features and machine."""

from __future__ import annotations

import platform
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from comfyui_sim.engine import Engine
from comfyui_sim.options import Options

MODEL_FOLDERS = [
    "checkpoints",
    "configs",
    "loras",
    "vae",
    "text_encoders",
    "diffusion_models",
    "clip_vision",
    "embeddings",
    "controlnet",
    "upscale_models",
]
MEMORY_BYTES = 24 * 2**30


def routes(
    engine: Engine,
) -> list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]]:
    """Method, path and handler."""

    async def object_info(request: web.Request) -> web.Response:
        wanted = request.match_info.get("name")
        names = [name for name in engine.types if wanted in (None, name)]
        return web.json_response({name: engine.types[name].object_info() for name in names})

    async def show_features(_: web.Request) -> web.Response:
        return web.json_response(features(engine.options))

    async def embeddings(_: web.Request) -> web.Response:
        return web.json_response([])

    async def models(request: web.Request) -> web.Response:
        folder = request.match_info.get("folder")
        if folder is None:
            return web.json_response(MODEL_FOLDERS)
        if folder not in MODEL_FOLDERS:
            return web.Response(status=404)
        names = sorted(engine.options.checkpoints) if folder == "checkpoints" else []
        return web.json_response(names)

    async def stats(_: web.Request) -> web.Response:
        return web.json_response(system_stats(engine.options))

    return [
        ("GET", "/object_info", object_info),
        ("GET", "/object_info/{name}", object_info),
        ("GET", "/system_stats", stats),
        ("GET", "/embeddings", embeddings),
        ("GET", "/models", models),
        ("GET", "/models/{folder}", models),
        *([] if engine.options.is_old else [("GET", "/features", show_features)]),
    ]


def features(options: Options) -> dict[str, Any]:
    """The flags of `GET /features` and of the websocket handshake."""
    return {
        "supports_preview_metadata": True,
        "supports_model_type_tags": True,
        "max_upload_size": options.max_upload_bytes,
        "extension": {"manager": {"supports_v4": True}},
        "node_replacements": True,
        "assets": False,
    }


def system_stats(options: Options) -> dict[str, Any]:
    """The body of `GET /system_stats`. Its shape is ComfyUI's; its values are not measured."""
    system = {
        "os": sys.platform,
        "ram_total": MEMORY_BYTES,
        "ram_free": MEMORY_BYTES // 2,
        "comfyui_version": options.guise,
        "required_frontend_version": "0",
        "installed_templates_version": None,
        "required_templates_version": "0",
        "comfy_package_versions": [
            {"name": "aiohttp", "installed": aiohttp.__version__, "required": "0"}
        ],
        "python_version": sys.version,
        "pytorch_version": "none: this is a simulator",
        "embedded_python": False,
        "deploy_environment": "comfyui-sim",
        "argv": sys.argv,
    }
    memory = dict.fromkeys(
        ("vram_total", "vram_free", "torch_vram_total", "torch_vram_free"), MEMORY_BYTES
    )
    device = {"name": f"simulator on {platform.machine()}", "type": "cpu", "index": None}
    return {"system": system, "devices": [{**device, **memory}]}
