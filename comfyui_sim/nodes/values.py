"""The values that pass from node to node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from comfyui_sim import render

NOTHING = render.PictureKey("", "empty")


@dataclass(frozen=True, slots=True)
class Batch:
    """An IMAGE: one or more pictures of one size."""

    pictures: tuple[Image.Image, ...]

    def __str__(self) -> str:
        width, height = self.pictures[0].size
        return f"tensor([[[[...]]]], size=({len(self.pictures)}, {height}, {width}, 3))"

    def map(self, change: Callable[[Image.Image], Image.Image]) -> Batch:
        """The batch with each picture changed. A picture that occurs twice is changed once."""
        done = {id(picture): change(picture) for picture in self.pictures}
        return Batch(tuple(done[id(picture)] for picture in self.pictures))


@dataclass(frozen=True, slots=True)
class Latent:
    """A LATENT: a size in pixels, and the key of the picture that a sampler made."""

    width: int
    height: int
    batch_size: int
    key: render.PictureKey = NOTHING

    def __str__(self) -> str:
        shape = (self.batch_size, 4, self.height // 8, self.width // 8)
        return f"{{'samples': tensor([[[[...]]]], size={shape})}}"


@dataclass(frozen=True, slots=True)
class Recording:
    """An AUDIO, a VIDEO or a 3D model: its bytes. The simulator does not decode them."""

    body: bytes

    @classmethod
    def read(cls, path: Path) -> Recording:
        """The content of a file."""
        return cls(path.read_bytes())

    def __str__(self) -> str:
        return f"<{len(self.body)} bytes>"
