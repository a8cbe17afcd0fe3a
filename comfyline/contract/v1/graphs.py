"""The body of `GET /api/v1/jobs/{job_id}/graph`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from comfyline.contract.limits import MAX_RESPONSE_BYTES
from comfyline.contract.v1.common import Count, Response


class GraphView(Response):
    """The workflow that a job runs."""

    job_id: str = Field(description="The job's id.")
    workflow: dict[str, Any] | None = Field(
        description="The workflow in API format, as it was sent or made from the parameters. An "
        "uploaded file is named `upload:<id>`, so the workflow can be submitted again. A number "
        "that JSON cannot express is the text `NaN`, `Infinity` or `-Infinity`. Null if the "
        f"workflow has more than {MAX_RESPONSE_BYTES:,} bytes."
    )
    bytes: Count = Field(description="The size of the workflow as JSON, in bytes.")
