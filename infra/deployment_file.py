"""Reads a deployment file. The message about a wrong file names file, key and allowed values."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from infra import ROOT
from infra.choices import CHOICES, SECTIONS, Choice
from infra.deployment import Deployment

EXAMPLE = "deployments/prod.example.toml"


class WrongDeployment(ValueError):
    """The deployment file cannot be used. The message has one line for each problem."""


def read_deployment(path: Path) -> Deployment:
    """The deployment that the file describes; a relative path starts at the repository's root.

    Raises:
        WrongDeployment: the file is missing, is not TOML, or has wrong keys or values.
    """
    try:
        table = tomllib.loads((ROOT / path).read_text())
    except OSError as error:
        raise WrongDeployment(f"{path}: {error.strerror}; {EXAMPLE} is an example") from error
    except ValueError as error:
        raise WrongDeployment(f"{path} is not TOML: {error}") from error
    return parse_deployment({"stage": path.stem, **table}, str(path))


def parse_deployment(table: Mapping[str, Any], name: str) -> Deployment:
    """The deployment that the content of a file describes; messages give the file as `name`.

    Raises:
        WrongDeployment: it has wrong keys or values.
    """
    try:
        # As JSON: there strict mode takes an array for a tuple, and a text for a path.
        return Deployment.model_validate_json(json.dumps({"worker": {}, **table}, default=str))
    except ValidationError as error:
        raise WrongDeployment("\n".join(_problems(error, name))) from None


def _problems(error: ValidationError, name: str) -> Iterator[str]:
    named = set[str]()
    for details in error.errors():
        path = [part for part in details["loc"] if isinstance(part, str)]
        key = ".".join(path)
        if key not in named:  # a list with wrong items has several errors
            named.add(key)
            yield f"{name}: {_problem(details, path)}"


def _problem(error: ErrorDetails, path: Sequence[str]) -> str:
    key, given = ".".join(path), error["input"]
    match error["type"]:
        case "extra_forbidden" if isinstance(given, dict) and len(path) == 1:
            near = max(SECTIONS, key=lambda section: _likeness(key, section))
            return f"unknown section [{key}]; the nearest known section is [{near}]"
        case "extra_forbidden":
            choice = _nearest(*path)
            return (
                f"unknown key {key}; the nearest known key is {choice.key} "
                f"({choice.description}), {choice.allowed}"
            )
        case "value_error":  # without a key if it is about several sections
            return f"{key}: {error['ctx']['error']}".removeprefix(": ")
        case "missing":
            return f"{key} is required: {CHOICES[key].description}"
    allowed = CHOICES[key].allowed if key in CHOICES else "a section"
    return f"{key} must be {allowed}, not {json.dumps(given)}"


def _nearest(*path: str) -> Choice:
    """The known key that is most like the given one. Its own section counts a little more."""
    *sections, name = path

    def likeness(choice: Choice) -> float:
        return _likeness(name, choice.name) + 0.2 * (choice.section in sections)

    return max(CHOICES.values(), key=likeness)


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()
