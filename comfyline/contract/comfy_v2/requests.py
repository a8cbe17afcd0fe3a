"""The request bodies of Comfy API v2, and the bounds of what a caller sends."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MAX_LABELS = 16
LABEL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
MAX_FILTERS = 3  # labels that one list may be filtered by
MAX_LABEL_BYTES = 256  # of a value, in UTF-8


class ExtraData(BaseModel):
    """What ComfyUI would be given beside the workflow. Only an empty object is accepted."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    api_key_comfy_org: str | None = Field(
        default=None, description="Refused: the workers reach no service of Comfy."
    )
    auth_token_comfy_org: str | None = Field(
        default=None, description="Refused: the workers reach no service of Comfy."
    )


class JobRequest(BaseModel):
    """A job: a workflow in ComfyUI's API format."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    workflow: dict[str, Any] = Field(
        description='The graph. An asset is named by {"__type": "core/ASSET", "info": {"id": ...}} '
        "wherever a file name would stand, or by its name where a node takes a file."
    )
    extra_data: ExtraData | None = Field(default=None, description="Only an empty object.")
    metadata: dict[str, str] | None = Field(
        default=None,
        description=f"Labels, at most {MAX_LABELS}, which the job shows and lists filter by.",
    )
