"""A breaking change of a field is found wherever it is made, and an additive change passes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.contract_changes import asyncapi_changes, openapi_changes
from tests.support.schema_changes import Change, Direction
from tools.contract_documents import DOCUMENTS, written

Json = Any
TEXTS = {name: written(name) for name in DOCUMENTS}
CHANGES = {
    "openapi.json": openapi_changes,
    "asyncapi.json": asyncapi_changes,
    "comfy.json": openapi_changes,
}
few = settings(max_examples=3, deadline=None)


def references(schema: Json) -> Iterator[str]:
    """The names of the models that a part of a document refers to."""
    if isinstance(schema, dict):
        if schema.get("$ref", "").startswith("#/components/schemas/"):
            yield schema["$ref"].rpartition("/")[2]
        for part in schema.values():
            yield from references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from references(part)


def entries(document: Json, direction: Direction) -> Iterator[Json]:
    """The parts of the document that describe what a client sends or receives."""
    is_request = direction == "request"
    for methods in document.get("paths", {}).values():
        for operation in methods.values():
            yield operation.get("requestBody", {}) if is_request else operation["responses"]
    for operation in document.get("operations", {}).values():
        if (operation["action"] == "receive") == is_request:
            for message in references(operation["messages"]):
                yield document["components"]["messages"][message]


def models(document: Json, direction: Direction) -> list[tuple[str, Json]]:
    """The models that travel in this direction."""
    schemas, found = document["components"]["schemas"], set[str]()
    new = {name for entry in entries(document, direction) for name in references(entry)}
    while new:
        found |= new
        new = {name for model in new for name in references(schemas[model])} - found
    return [(name, schemas[name]) for name in sorted(found)]


@dataclass(frozen=True)
class Field:
    """One field of one model in a document that a test may change."""

    model: str
    schema: Json
    name: str

    @property
    def about(self) -> Json:
        return self.schema["properties"][self.name]

    @property
    def place(self) -> str:
        return f"{self.model}.{self.name}"

    @property
    def alternatives(self) -> list[Json]:
        return self.about.get("anyOf", [self.about])

    @property
    def default(self) -> Json:
        return {key: value for key, value in self.about.items() if key == "default"}

    @property
    def is_required(self) -> bool:
        return self.name in self.schema.get("required", [])

    def having(self, keyword: str) -> Json | None:
        """The alternative with the keyword, if the field has one."""
        return next((part for part in self.alternatives if keyword in part), None)


def fields(document: Json, direction: Direction) -> list[Field]:
    return [
        Field(model, schema, name)
        for model, schema in models(document, direction)
        for name in schema["properties"]
    ]


# --- changes of one field -------------------------------------------------------------------------

# Each changes the field, or returns False where the change makes no sense.
Edit = Callable[[Field], bool | None]


def removed(field: Field) -> None:
    del field.schema["properties"][field.name]
    field.schema["required"] = [n for n in field.schema.get("required", []) if n != field.name]


def now_required(field: Field) -> bool:
    if not field.is_required:
        field.schema["required"] = [*field.schema.get("required", []), field.name]
        return True
    return False


def no_longer_required(field: Field) -> bool:
    if field.is_required:
        field.schema["required"].remove(field.name)
        return True
    return False


def of_another_type(field: Field) -> bool:
    if "boolean" in {part.get("type") for part in field.alternatives}:
        return False
    field.schema["properties"][field.name] = {"type": "boolean", **field.default}
    return True


def null_gone(field: Field) -> bool:
    if {"type": "null"} in field.alternatives:
        field.about["anyOf"].remove({"type": "null"})
        return True
    return False


def null_added(field: Field) -> bool:
    if {"type": "null"} in field.alternatives:
        return False
    others = {key: value for key, value in field.about.items() if key not in field.default}
    field.schema["properties"][field.name] = {
        "anyOf": [others, {"type": "null"}],
        **field.default,
    }
    return True


def value_gone(field: Field) -> bool:
    part = field.having("enum")
    if part is None or {"type": "string"} in field.alternatives:
        return False  # `reason` lists values and takes any other text too
    part["enum"] = part["enum"][:-1]
    return True


def value_added(field: Field) -> bool:
    part = field.having("enum")
    if part is None or {"type": "string"} in field.alternatives:
        return False
    part["enum"] = [*part["enum"], "brand_new"]
    return True


def moved(by: int, *keywords: str) -> Edit:
    def edit(field: Field) -> bool:
        for keyword in keywords:
            if (part := field.having(keyword)) is not None:
                part[keyword] += by
                return True
        return False

    return edit


def given_a_pattern(field: Field) -> bool:
    part = next((p for p in field.alternatives if p.get("type") == "string"), None)
    if part is None or "pattern" in part or "enum" in part or "const" in part:
        return False
    part["pattern"] = "^x$"
    return True


def freed_of_its_pattern(field: Field) -> bool:
    part = field.having("pattern")
    return part is not None and bool(part.pop("pattern"))


def of_another_default(field: Field) -> bool:
    if "default" not in field.about:
        return False
    field.about["default"] = "another"
    return True


def described_anew(field: Field) -> None:
    field.about.update(description="Other words.", title="Other", examples=["x"])


def joined_by_an_optional_field(field: Field) -> None:
    field.schema["properties"]["brand_new"] = {"type": "string"}


MAXIMA = ("maximum", "maxLength", "maxItems", "maxProperties")
MINIMA = ("minimum", "minLength", "minItems", "minProperties")
BREAKING: list[tuple[Direction, Edit]] = [
    ("request", removed),
    ("request", now_required),
    ("request", of_another_type),
    ("request", null_gone),
    ("request", value_gone),
    ("request", moved(-1, *MAXIMA)),
    ("request", moved(+1, *MINIMA)),
    ("request", given_a_pattern),
    ("request", of_another_default),
    ("response", removed),
    ("response", no_longer_required),
    ("response", of_another_type),
    ("response", null_added),
    ("response", value_gone),
    ("response", value_added),
    ("response", moved(+1, *MAXIMA)),
    ("response", moved(-1, *MINIMA)),
    ("response", freed_of_its_pattern),
]
ADDITIVE: list[tuple[Direction, Edit]] = [
    ("request", no_longer_required),
    ("request", null_added),
    ("request", value_added),
    ("request", moved(+1, *MAXIMA)),
    ("request", moved(-1, *MINIMA)),
    ("request", freed_of_its_pattern),
    ("request", described_anew),
    ("request", joined_by_an_optional_field),
    ("response", now_required),
    ("response", null_gone),
    ("response", moved(-1, *MAXIMA)),
    ("response", moved(+1, *MINIMA)),
    ("response", given_a_pattern),
    ("response", described_anew),
    ("response", joined_by_an_optional_field),
]


@cache
def sites(direction: Direction, edit: Edit) -> list[tuple[str, int]]:
    """The fields that the edit changes: the document, and the field's number in it."""
    return [
        (name, number)
        for name, text in TEXTS.items()
        for number, field in enumerate(fields(json.loads(text), direction))
        if edit(Field(field.model, deepcopy(field.schema), field.name)) is not False
    ]


def edited(site: tuple[str, int], direction: Direction, edit: Edit) -> tuple[list[Change], str]:
    """The changes that are found after the edit, and the place of the edit."""
    name, number = site
    old, new = json.loads(TEXTS[name]), json.loads(TEXTS[name])
    field = fields(new, direction)[number]
    edit(field)
    return CHANGES[name](old, new), field.place


def names(case: tuple[Direction, Edit]) -> str:
    direction, edit = case
    return f"{direction} {edit.__name__}"


@pytest.mark.parametrize("case", BREAKING, ids=names)
@few
@given(data=st.data())
def test_a_break_of_a_field_is_found_where_it_is(
    case: tuple[Direction, Edit], data: st.DataObject
) -> None:
    changes, place = edited(data.draw(st.sampled_from(sites(*case))), *case)
    assert place in {change.place for change in changes}


@pytest.mark.parametrize("case", ADDITIVE, ids=names)
@few
@given(data=st.data())
def test_an_additive_change_of_a_field_passes(
    case: tuple[Direction, Edit], data: st.DataObject
) -> None:
    changes, _ = edited(data.draw(st.sampled_from(sites(*case))), *case)
    assert changes == []
