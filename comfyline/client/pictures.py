"""Pictures of jobs in memory, and how a job looks in a notebook."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comfyline.contract.v1.results import ArtifactView

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN_IN_NOTEBOOKS = frozenset({"image/png", "image/jpeg"})  # that IPython displays by their bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture that a job made. A notebook shows it, and keeps it when it is saved."""

    name: str
    content_type: str
    content: bytes = field(repr=False)

    def open(self) -> Image:
        """The picture for Pillow, which has to be installed (`pip install pillow`).

        Raises:
            ImportError: Pillow is not installed.
            PIL.UnidentifiedImageError: Pillow cannot read the file.
        """
        from PIL import Image

        return Image.open(io.BytesIO(self.content))

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        text = {"text/plain": repr(self)}
        is_shown = self.content_type in SHOWN_IN_NOTEBOOKS
        return text | ({self.content_type: self.base64()} if is_shown else {})

    def base64(self) -> str:
        """The file in base64, as pages and notebooks hold it."""
        return b64encode(self.content).decode()


class Wanted:
    """Which files of a job to fetch. Ask about each file once, in the job's order."""

    is_complete = False  # no later file is wanted

    def takes(self, artifact: ArtifactView) -> bool:  # noqa: ARG002
        """Whether to fetch the file."""
        return True


class WantedPictures(Wanted):
    """The first `most` pictures that are not too large; None is no limit."""

    def __init__(self, most: int | None, max_bytes: int | None) -> None:
        self._left = float("inf") if most is None else most
        self._max_bytes = float("inf") if max_bytes is None else max_bytes

    @property
    def is_complete(self) -> bool:  # type: ignore[override]
        """Whether the limit is reached."""
        return self._left <= 0

    def takes(self, artifact: ArtifactView) -> bool:
        """Whether to fetch the file."""
        is_picture = artifact.content_type.startswith("image/")
        if self.is_complete or not is_picture or artifact.bytes > self._max_bytes:
            return False
        self._left -= 1
        return True
