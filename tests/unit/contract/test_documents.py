"""docs/api/*.json are the contract: valid, made from this code, and no break passes unnamed."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from comfyline.contract.problems import PROBLEMS
from comfyline.contract.v1.asyncapi import document as asyncapi
from comfyline.contract.v1.messages import RECEIVED, SENT
from comfyline.contract.v1.openapi import document as openapi
from comfyline.contract.v1.operations import OPERATIONS
from tests.support.contract_changes import asyncapi_changes, openapi_changes, unnamed
from tests.support.documents import ROOT
from tools.contract_documents import BASELINE, DOCUMENTS, FOLDER, written

# The AsyncAPI project's own schema of version 3.0.0, from its npm package @asyncapi/specs 6.11.1.
ASYNCAPI_SCHEMA = Path(__file__).with_name("asyncapi_schema") / "3.0.0.json.gz"
COMPARED = {"openapi.json": openapi_changes, "asyncapi.json": asyncapi_changes}
HOW_TO = """Breaking changes of the public contract. Undo them, or name each one in CHANGELOG.md
under Unreleased, with its place in backticks and what a caller must do:"""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_committed_document_is_made_from_this_code(name: str) -> None:
    # A plain comparison, since the difference of two long texts would be shown at length.
    is_current = (FOLDER / name).read_text() == written(name)
    assert is_current, f"docs/api/{name} is not what the code says; run: make docs"


@pytest.mark.parametrize(
    ("types", "name"), [("http.ts", "openapi.json"), ("live.ts", "asyncapi.json")]
)
def test_the_types_of_the_typescript_client_are_made_from_this_document(
    types: str, name: str
) -> None:
    """The client's own tests compare the types themselves; this test needs no Node."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
    text = (ROOT / "clients" / "typescript" / "src" / "generated" / types).read_text()
    is_current = f"// {name}: sha256 {digest}\n" in text
    assert is_current, f"clients/typescript/src/generated/{types} is out of date; run: make docs"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_breaking_change_is_named_in_the_changelog(name: str) -> None:
    released = json.loads((BASELINE / name).read_text())
    changes = COMPARED[name](released, DOCUMENTS[name]())
    missing = unnamed(changes, (ROOT / "CHANGELOG.md").read_text())
    assert not missing, "\n".join([HOW_TO, *(f"- {change}" for change in missing)])


def test_the_openapi_document_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(openapi()).iter_errors()) == []


def test_the_asyncapi_document_is_valid() -> None:
    schema = json.loads(gzip.decompress(ASYNCAPI_SCHEMA.read_bytes()))
    errors = jsonschema_rs.Draft7Validator(schema).iter_errors(asyncapi())
    assert [error.message for error in errors] == []


@pytest.mark.parametrize("document", [openapi(), asyncapi()], ids=list(DOCUMENTS))
def test_everything_has_a_description(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bare = [
        f"{model}.{field}"
        for model, schema in schemas.items()
        for field, about in schema["properties"].items()
        if not about.get("description")
    ]
    assert bare == []
    assert [model for model, schema in schemas.items() if not schema.get("description")] == []


def test_every_problem_code_is_listed() -> None:
    about, live = openapi()["info"]["description"], asyncapi()["info"]["description"]
    for code, kind in PROBLEMS.items():
        assert (f"| `{code}` | {kind.status} |" in about) == (kind.status is not None)
        assert (f"| `{code}` |" in live) == kind.on_socket


def test_every_operation_answers_with_the_codes_that_it_lists() -> None:
    paths = openapi()["paths"]
    for (method, path), operation in OPERATIONS.items():
        answers = paths[path][method.lower()]["responses"]
        assert [int(status) for status in answers] == operation.statuses
        for code in operation.codes:
            assert f"`{code}`" in answers[str(PROBLEMS[code].status)]["description"]


@pytest.mark.parametrize(
    ("model", "example"),
    [*RECEIVED.items(), *SENT.items()],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_an_example_is_what_travels(model: type[BaseModel], example: dict[str, Any]) -> None:
    message = model.model_validate(example)
    assert json.loads(message.model_dump_json(exclude_none=True)) == example
    schemas = asyncapi()["components"]["schemas"]
    text = json.dumps({"$ref": f"#/$defs/{model.__name__}", "$defs": schemas})
    schema = json.loads(text.replace("#/components/schemas/", "#/$defs/"))
    jsonschema_rs.validate(schema, example)
