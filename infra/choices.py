"""The keys of a deployment file as text: for the table in docs/deploy.md and for error messages.

`python -m infra.choices` writes the table into docs/deploy.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra import ROOT
from infra.deployment import Deployment
from infra.sections.section import Section
from tools.marked import replaced

PAGE = ROOT / "docs" / "deploy.md"
BEGIN = "<!-- The table is made from infra/deployment.py by `make docs`. -->"
END = "<!-- End of the table. -->"


@dataclass(frozen=True, slots=True)
class Choice:
    """One key."""

    section: str  # empty for the keys above the sections
    name: str
    description: str
    allowed: str
    default: str

    @property
    def key(self) -> str:
        """The key with its section."""
        return f"{self.section}.{self.name}" if self.section else self.name


def _choices(model: type[Section], section: str = "") -> Iterator[Choice]:
    for name, schema in model.model_json_schema()["properties"].items():
        kind = model.model_fields[name].annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from _choices(kind, name)
        else:
            yield Choice(section, name, schema["description"], _allowed(schema), _default(schema))


def _allowed(schema: Mapping[str, Any]) -> str:
    """The values that a key takes, to be read after "must be"."""
    if "allowed" in schema:
        return str(schema["allowed"])
    value = schema["anyOf"][0] if "anyOf" in schema else schema
    if "enum" in value:
        return f"one of {', '.join(map(str, value['enum']))}"
    match value["type"]:
        case "integer":
            return f"a whole number from {value['minimum']} to {value['maximum']}"
        case "boolean":
            return "true or false"
        case "object":
            return f"a table of texts such as {_inline(schema['examples'][0])}"
        case "array":
            return f"a list of texts such as {json.dumps(schema['examples'][0])}"
    return f"a text such as {json.dumps(schema['examples'][0])}"


def _default(schema: Mapping[str, Any]) -> str:
    if "by_default" in schema:
        return str(schema["by_default"])
    if "default" not in schema:
        return "required"
    return (
        "none" if schema["default"] in (None, "", [], {}) else f"`{json.dumps(schema['default'])}`"
    )


def _inline(table: Mapping[str, str]) -> str:
    """The table as TOML writes it in one line."""
    pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
    return f"`{{{pairs}}}`"


CHOICES: Mapping[str, Choice] = {choice.key: choice for choice in _choices(Deployment)}
SECTIONS = tuple(dict.fromkeys(choice.section for choice in CHOICES.values() if choice.section))


def table() -> str:
    """Every key as a row of a Markdown table."""
    rows = [
        f"| `{choice.key}` | {choice.description} | {choice.allowed} | {choice.default} |"
        for choice in CHOICES.values()
    ]
    return "\n".join(["| key | meaning | values | default |", "| --- | --- | --- | --- |", *rows])


def with_table(page: str) -> str:
    """The page with the current table between its two markers."""
    return replaced(page, BEGIN, table(), END)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
