"""The type of an HTTP operation: its parameters, its responses and its problem codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from comfyline.contract.problems import PROBLEMS

Json = dict[str, Any]

TAKES_A_BODY = ("malformed_request", "request_too_large", "invalid_request")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    id: str
    tag: str
    summary: str
    description: str
    answers: Mapping[int, type[BaseModel] | None]  # None: not JSON of a model, see `media`
    problems: tuple[str, ...] = ()  # codes, beside those that every operation can answer
    parameters: tuple[Json, ...] = ()
    body: Mapping[type[BaseModel], Json] = field(default_factory=dict)  # with an example of each
    headers: Mapping[str, Json] = field(default_factory=dict)  # of the successful answers
    media: tuple[str, ...] = ()  # media types of the answers that have no model
    is_open: bool = False  # needs no key

    @property
    def codes(self) -> tuple[str, ...]:
        """Every problem code that the operation can answer."""
        key = () if self.is_open else ("unauthorized", "forbidden")
        return (*key, *self.problems, "internal_error", "unavailable")

    @property
    def gateway_statuses(self) -> tuple[int, ...]:
        """The statuses that the gateway answers by itself, before the service sees the request."""
        return (429, 503) if self.is_open else (401, 429, 503)

    @property
    def statuses(self) -> list[int]:
        """Every status, including those of the gateway."""
        problems = {PROBLEMS[code].status or 500 for code in self.codes}
        return sorted({*self.answers, *problems, *self.gateway_statuses})
