"""Write the contract's documents as pages: docs/api/http.md, docs/api/socket.md, and /docs/live.

They are for people who read; the documents themselves are for programs. functions/_viewer/live.html
is the page about the socket as a deployment serves it, beside the viewer of the HTTP API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import markdown

from comfyline.contract.v1 import asyncapi, openapi

Json = Mapping[str, Any]

ROOT = Path(__file__).resolve().parents[1]
HTTP = ROOT / "docs" / "api" / "http.md"
SOCKET = ROOT / "docs" / "api" / "socket.md"
LIVE = ROOT / "functions" / "_viewer" / "live.html"
_MADE = "<!-- Made by `make docs` from the contract. Do not edit. -->\n"
_FIELDS = ("| Field | Type | Meaning |", "|---|---|---|")
_HEAD = """\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Comfyline: the WebSocket API</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="plain.css">
  </head>
  <body>
    <nav><a href="../docs">The HTTP API</a> · <a href="../asyncapi.json">asyncapi.json</a></nav>
    <main>
"""
_TAIL = "\n    </main>\n  </body>\n</html>\n"


def main() -> None:
    """Write the files."""
    for path, text in ((HTTP, http_page()), (SOCKET, socket_page()), (LIVE, live_page())):
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")


def http_page() -> str:
    """The page about the HTTP API, in Markdown."""
    return "\n".join(_http(openapi.document())).rstrip() + "\n"


def socket_page() -> str:
    """The page about the WebSocket API, in Markdown."""
    return "\n".join(_socket(asyncapi.document())).rstrip() + "\n"


def live_page() -> str:
    """The page about the WebSocket API, in HTML."""
    text = markdown.markdown(socket_page(), extensions=["tables", "fenced_code", "toc"])
    return f"{_HEAD}{text}{_TAIL}"


# --- HTTP -----------------------------------------------------------------------------------------


def _http(document: Json) -> Iterator[str]:
    yield f"# Reference: the HTTP API\n\n{_MADE}"
    yield document["info"]["description"]
    for tag in document["tags"]:
        yield f"## {tag['name']}\n\n{tag['description']}\n"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(f"{method.upper()} {path}", operation)
    yield "## Models\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _model(f"### {name}", schema)


def _operation(place: str, operation: Json) -> Iterator[str]:
    yield f"### {operation['summary']}\n\n`{place}`\n\n{operation['description']}\n"
    yield from ("| Parameter | In | Type | Meaning |", "|---|---|---|---|")
    for part in operation["parameters"]:
        about, kind = _meaning(part["schema"], part["description"]), _kind(part["schema"])
        yield f"| `{part['name']}` | {part['in']} | {kind} | {about} |"
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]
        kinds = map(_kind, body["schema"].get("oneOf", [body["schema"]]))
        yield f"\n**Body:** {', or '.join(kinds)}"
    yield from ("", "| Status | Answer |", "|---|---|")
    for status, answer in operation["responses"].items():
        content = next(iter(answer["content"].items()))
        kind = _kind(content[1]["schema"]) if "schema" in content[1] else f"`{content[0]}`"
        yield f"| {status} | {kind}: {_cell(answer['description'])} |"
    for sample in operation["x-codeSamples"]:
        fence = {"Shell": "sh", "Python": "python", "TypeScript": "ts"}[sample["lang"]]
        yield f"\n```{fence}\n{sample['source']}\n```"
    yield ""


# --- the socket -----------------------------------------------------------------------------------


def _socket(document: Json) -> Iterator[str]:
    yield f"# Reference: the WebSocket\n\n{_MADE}"
    yield document["info"]["description"]
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    for title, action in (("The client sends", "receive"), ("The service sends", "send")):
        yield f"## {title}\n"
        for name in _named(document, action):
            yield f"### {name}\n\n{messages[name]['description']}\n"
            for shown in messages[name]["examples"]:
                yield f"```json\n{json.dumps(shown['payload'])}\n```\n"
            yield from _rows(schemas[messages[name]["payload"]["$ref"].rpartition("/")[2]])
            yield ""
    channel = document["channels"]["live"]
    yield from _told("Refused handshakes", "Status", channel["x-handshake-refusals"])
    yield from _told("Close codes", "Code", channel["x-close-codes"])
    yield "## Models\n"
    payloads = {message["payload"]["$ref"].rpartition("/")[2] for message in messages.values()}
    for name in sorted(schemas.keys() - payloads):
        yield from _model(f"### {name}", schemas[name])


def _named(document: Json, action: str) -> list[str]:
    """The messages of the operations with this action, and of their replies."""
    found: list[Json] = []
    for operation in document["operations"].values():
        if operation["action"] == action:
            found += operation["messages"]
        elif "reply" in operation:
            found += operation["reply"]["messages"]
    return list(dict.fromkeys(reference["$ref"].rpartition("/")[2] for reference in found))


def _told(title: str, what: str, table: Mapping[str, str]) -> Iterator[str]:
    yield from (f"## {title}\n", f"| {what} | Meaning |", "|---|---|")
    yield from (f"| {code} | {_cell(text)} |" for code, text in table.items())
    yield ""


# --- models ---------------------------------------------------------------------------------------


def _model(heading: str, schema: Json) -> Iterator[str]:
    yield f"{heading}\n\n{' '.join(schema['description'].split())}\n"
    yield from _rows(schema)
    yield ""


def _rows(schema: Json) -> Iterator[str]:
    yield from _FIELDS
    required = schema.get("required", ())
    for name, about in schema["properties"].items():
        mark = "" if name in required else ", optional"
        yield f"| `{name}` | {_kind(about)}{mark} | {_meaning(about, about['description'])} |"


def _kind(schema: Json) -> str:
    """The schema's type in words, with a link to a model."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if listed := schema.get("enum", [schema["const"]] if "const" in schema else None):
        return " or ".join(f"`{value}`" for value in listed)
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    return str(schema.get("type", "any"))


def _meaning(schema: Json, description: str) -> str:
    """The description with bounds, default and example."""
    parts = [_cell(description), *_bounds(schema)]
    if schema.get("default") not in (None, "", {}, []):
        parts.append(f"Default: `{json.dumps(schema['default'])}`.")
    if "examples" in schema and isinstance(schema["examples"][0], str | int | float):
        parts.append(f"Example: `{json.dumps(schema['examples'][0])}`.")
    return " ".join(parts)


def _bounds(schema: Json) -> Iterator[str]:
    """The bounds of a number or a text, which may be an alternative of null."""
    whole: dict[str, Any] = {}
    for part in (*schema.get("anyOf", ()), schema):
        whole |= part
    least, most = whole.get("minimum"), whole.get("maximum")
    if most is not None:
        yield f"From {least} to {most}."
    elif least is not None:
        yield f"At least {least}."
    if "multipleOf" in whole:
        yield f"A multiple of {whole['multipleOf']}."
    if "maxLength" in whole:
        yield f"At most {whole['maxLength']} characters."


def _cell(text: str) -> str:
    """The text as one line of a table."""
    lines = text.replace("|", "\\|").splitlines()
    return " ".join(line.removeprefix("- ").strip() for line in lines).strip()


if __name__ == "__main__":
    main()
