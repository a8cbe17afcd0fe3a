"""Types that the requests, responses and socket messages of API v1 share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

API_PREFIX = "/api/v1"

Status = Literal["queued", "running", "canceling", "succeeded", "failed", "canceled", "expired"]
EndStatus = Literal["succeeded", "failed", "canceled", "expired"]
Priority = Literal["high", "normal", "low"]
PictureFormat = Literal["webp", "jpeg"]
# Numbers that are never negative.
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]

Metadata = dict[Annotated[str, Field(min_length=1, max_length=128)], str]

# The document's name for integers that a JavaScript number cannot hold: they need another parser.
INT64: dict[str, JsonValue] = {"format": "int64"}

# A process imports all models and uses a few of them, so a validator is built at its first use.
DEFER_BUILD = ConfigDict(defer_build=True)


class Request(BaseModel):
    """Base of what a caller sends: unknown fields are errors, and no value is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers_are_integers(cls, value: Any) -> Any:
        # JSON Schema counts 20.0 as an integer, and some JSON libraries write every number so.
        if not isinstance(value, dict):
            return value
        return {
            name: int(field) if isinstance(field, float) and field.is_integer() else field
            for name, field in value.items()
        }


class Response(BaseModel):
    """Base of what the service sends: a client ignores fields that it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
