"""Graphs that take a known time, or where that cannot be had, some time."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from PIL import Image

Graph = dict[str, dict[str, Any]]

LARGE_SIDE = 2600  # RGB noise of it is 20 MB, and PNG cannot make it smaller


def timed(seconds: float, *, is_real: bool) -> Graph:
    """Takes so long in the simulator; in a real ComfyUI, which has no such node, what scaling a
    picture takes. No two are alike, so that no cache answers.
    """
    color = uuid.uuid4().int % 0xFFFFFF
    blank = {"width": 64, "height": 64, "batch_size": 1, "color": color}
    graph: Graph = {"1": {"class_type": "EmptyImage", "inputs": blank}}
    return {**graph, **_slowly(["1", 0], seconds, is_real=is_real)}


def large(seconds: float, *, is_real: bool) -> Graph:
    """The same for the picture that is uploaded as `1.image`, which comes out as large."""
    graph: Graph = {"1": {"class_type": "LoadImage", "inputs": {"image": ""}}}
    return {**graph, **_slowly(["1", 0], seconds, is_real=is_real)}


def _slowly(image: list[Any], seconds: float, *, is_real: bool) -> Graph:
    nonce = uuid.uuid4().int % 1_000_000
    asleep = {"images": image, "seconds": seconds, "progress": False, "nonce": nonce}
    scaled: dict[str, Any] = {"image": image, "upscale_method": "lanczos", "crop": "disabled"}
    scaled |= {"width": 2048, "height": 1024 + nonce % 1024}
    slow = ("ImageScale", scaled) if is_real else ("ProbeSleep", asleep)
    saved = {"images": ["2", 0], "filename_prefix": "bench"}
    return {
        "2": {"class_type": slow[0], "inputs": slow[1]},
        "3": {"class_type": "SaveImage", "inputs": saved},
    }


def chain(links: int) -> Graph:
    """Scales a picture so often, one node after another: some seconds of a real ComfyUI that has no
    model, and an interrupt is heard between any two.
    """
    graph: Graph = timed(0.0, is_real=True)
    for link in range(links):
        scaled = {**graph["2"]["inputs"], "image": [f"link {link - 1}" if link else "1", 0]}
        scaled["height"] += link  # no two alike
        graph[f"link {link}"] = {"class_type": "ImageScale", "inputs": scaled}
    graph["2"]["inputs"]["image"] = [f"link {links - 1}", 0]
    return graph


def noise(folder: Path) -> Path:
    """A picture of 20 MB that no compression makes smaller."""
    path = folder / "noise.png"
    side = LARGE_SIDE
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(path, compress_level=1)
    return path
