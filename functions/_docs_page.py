"""The OpenAPI document as one page of HTML: no script, nothing fetched, readable as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

Json = dict[str, Any]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc }
code, td { overflow-wrap: anywhere }
code, pre { font: 14px/1.4 ui-monospace, monospace; background: #f4f4f4; border-radius: 3px }
pre { padding: .75rem; overflow-x: auto } code { padding: 0 .25rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25rem .5rem;
border-bottom: 1px solid #eee; vertical-align: top }
summary { padding: .25rem; cursor: pointer }
summary b { color: #06c; display: inline-block; width: 4.5rem }
details[open] { margin-bottom: 2rem }
"""


def page(document: Json) -> str:
    """The whole document, each path and each schema under its own anchor."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])}</h1><p>{_text(info['description'])}</p>",
        "<p>The same for programs: <a href=openapi.json>openapi.json</a></p>",
        "<h2>Routes</h2>",
        *_operations(document["paths"]),
        "<h2>Schemas</h2>",
        *_schemas(document["components"]["schemas"]),
    ]
    return "".join(parts)


def _operations(paths: Json) -> Iterator[str]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            anchor = escape(operation["operationId"])
            yield f"<details id={anchor}><summary><b>{method.upper()}</b> "
            yield f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>"
            yield _table("Parameter", map(_parameter, operation["parameters"]))
            yield from _examples(operation.get("requestBody"))
            yield _table("Status", map(_response, operation["responses"].items()))
            yield "</details>"


def _text(text: str) -> str:
    """What stands between backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _parameter(parameter: Json) -> tuple[str, str]:
    name = f"<code>{escape(parameter['name'])}</code> ({parameter['in']})"
    return name, _text(parameter["description"])


def _response(response: tuple[str, Json]) -> tuple[str, str]:
    status, shown = response
    links = [_link(content["schema"]) for content in shown["content"].values() if content]
    return status, f"{escape(shown['description'])} {' or '.join(links)}"


def _examples(body: Json | None) -> Iterator[str]:
    content = body["content"]["application/json"] if body else {"examples": {}}
    for name, example in content["examples"].items():
        yield f"<p>Body: <a href=#{name}>{name}</a></p>"
        yield f"<pre>{escape(json.dumps(example['value'], indent=2))}</pre>"


def _schemas(schemas: Json) -> Iterator[str]:
    for name, schema in schemas.items():
        yield f"<h3 id={name}>{name}</h3><p>{_text(schema.get('description', ''))}</p>"
        required = schema.get("required", [])
        rows = (
            (f"<code>{escape(field)}</code>{' *' if field in required else ''}", _kind(about))
            for field, about in schema.get("properties", {}).items()
        )
        yield _table("Field (* required)", rows)


def _kind(about: Json) -> str:
    if "$ref" in about or "anyOf" in about or "items" in about:
        parts = about.get("anyOf", [about.get("items", about)])
        return " or ".join(map(_kind, parts)) if about not in parts else _link(about)
    bounds = {k: v for k, v in about.items() if k not in ("title", "type")}
    shown = ", ".join(f"{k} {json.dumps(v)}" for k, v in bounds.items())
    return escape(f"{about.get('type', 'any')} {shown}".strip())


def _link(schema: Json) -> str:
    name = schema["$ref"].rpartition("/")[2]
    return f"<a href=#{name}>{name}</a>"


def _table(title: str, rows: Any) -> str:
    cells = "".join(f"<tr><td>{left}<td>{right}" for left, right in rows)
    return f"<table><tr><th>{title}<th>{cells}</table>"
