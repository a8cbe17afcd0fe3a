"""What the models of Comfy API v2 share.

The clients check each answer strictly: a field that the contract requires must be there, and a time
must end with `Z`. They ignore fields that they do not know.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

PREFIX = "/api/v2"


class Answer(BaseModel):
    """Base of what the service sends."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
