"""The body of each refusal of API v1.

It has a module of its own, because every function may answer with it, and few functions need the
other responses.
"""

from __future__ import annotations

from pydantic import Field

from comfyline.contract.v1.common import Response


class FieldProblem(Response):
    """One field that is wrong."""

    loc: list[str | int] = Field(description="Where the field is, from the outside in.")
    msg: str = Field(description="What is wrong with it.")


class Problem(Response):
    """Why the service refused the request (RFC 9457)."""

    type: str = Field(description="A URN of the code.")
    title: str = Field(description="What the code means.")
    status: int = Field(ge=400, le=599, description="The HTTP status.")
    detail: str = Field(description="The fault of this request.")
    code: str = Field(description="Stable name of the kind of problem; decide by it.")
    request_id: str | None = Field(
        default=None, description="The service logs the request under this id."
    )
    errors: list[FieldProblem] | None = Field(
        default=None, description="The invalid fields, if the code is `invalid_request`."
    )
    budget: str | None = Field(
        default=None,
        description="Of a 429: the limit that is reached, such as `requests` or `active_jobs`.",
    )
