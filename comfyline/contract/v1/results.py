"""What a job has made, as responses and messages show it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from comfyline.contract.limits import MAX_ARTIFACTS_PER_PAGE
from comfyline.contract.v1.common import INT64, Count, Response

_TOTAL = "How many files the job has made in all."


class ArtifactView(Response):
    """One file that the job made."""

    number: Count = Field(default=0, description="The file's place among the job's files, from 0.")
    url: str = Field(
        description="A signed URL of the file. Each read of the job signs a new one; it needs no "
        "key, so treat it as a secret."
    )
    name: str = Field(description="The file's name, as the workflow chose it.")
    kind: str = Field(description="What the workflow uses the file as, for example `image`.")
    content_type: str = Field(description="The file's media type.")
    bytes: Count = Field(description="The file's size in bytes.")
    sha256: str = Field(description="SHA-256 of the file in hexadecimal.")
    node: str = Field(
        description="Id of the node that made the file; empty if no node reports the file."
    )
    temporary: bool = Field(
        default=False,
        description="Whether the workflow made the file as a preview. Previews are results only if "
        "the workflow made no other file.",
    )
    url_expires_at: datetime | None = Field(
        default=None, description="When `url` stops working; read the job again for a new one."
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        description="The seed, if the job was described by parameters.",
        json_schema_extra=INT64,
    )
    meta: dict[str, Any] = Field(
        default_factory=dict, description="Further facts about the file, such as its attempt."
    )


class ArtifactLink(Response):
    """Where one file of a job is."""

    url: str = Field(
        description="A signed URL of the file. It needs no key, so treat it as a secret."
    )
    url_expires_at: datetime = Field(description="When `url` stops working.")


class WarningView(Response):
    """Something that went wrong without making the job fail."""

    type: str = Field(description="Stable name of the kind of warning.")
    message: str = Field(description="What went wrong, for people.")
    node_id: str | None = Field(default=None, description="Id of the node that is concerned.")
    node_type: str | None = Field(default=None, description="Class of that node.")


class ResultView(Response):
    """What an ended job has made."""

    artifacts: list[ArtifactView] = Field(
        description=f"The first files, at most {MAX_ARTIFACTS_PER_PAGE}.",
        json_schema_extra={"maxItems": MAX_ARTIFACTS_PER_PAGE},
    )
    artifacts_total: Count = Field(default=0, description=_TOTAL)
    next_cursor: str | None = Field(
        default=None,
        description="If there are more files: send it as `cursor` to "
        "`GET /api/v1/jobs/{job_id}/artifacts` for the next ones.",
    )
    values: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="What nodes have reported beside files and texts, by node id and key. A number "
        "that JSON cannot express is the text `NaN`, `Infinity` or `-Infinity`.",
    )
    values_cut: list[str] = Field(
        default_factory=list,
        description="`<node>.<key>` of each reported value that is missing in `values`, because "
        "all values together have at most 64 KiB.",
    )
    warnings: list[WarningView] = Field(
        default_factory=list, description="What went wrong without making the job fail."
    )
    partial: bool = Field(
        default=False,
        description="Whether some outputs of the workflow are missing; `warnings` says which.",
    )
    empty_reason: str | None = Field(
        default=None, description="Why a job that succeeded has made neither a file nor a value."
    )
    truncated: bool = Field(
        default=False,
        description="Whether something is left out here: files after the first ones, or, in a "
        "message of the WebSocket, also values and warnings. Read the job over HTTP for those.",
    )


class ArtifactPage(Response):
    """One page of the files of an ended job, in the job's order."""

    job_id: str = Field(description="The job's id.")
    artifacts: list[ArtifactView] = Field(
        description="The files, with freshly signed URLs.",
        json_schema_extra={"maxItems": MAX_ARTIFACTS_PER_PAGE},
    )
    artifacts_total: Count = Field(description=_TOTAL)
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` for the next page; null on the last page."
    )
