"""Which changes of the contract's documents break a client that was written for the old ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.schema_changes import Change, Direction, SchemaComparison

Json = Any


def openapi_changes(old: Json, new: Json) -> list[Change]:
    """The breaking changes between two OpenAPI documents."""
    return sorted(set(_paths(old, new)))


def asyncapi_changes(old: Json, new: Json) -> list[Change]:
    """The breaking changes between two AsyncAPI documents."""
    return sorted({*_channels(old, new), *_socket_operations(old, new)})


def unnamed(changes: list[Change], changelog: str) -> list[Change]:
    """The changes that the changelog's section Unreleased does not name by place, in backticks."""
    section = changelog.partition("\n## Unreleased\n")[2].partition("\n## ")[0]
    return [change for change in changes if f"`{change.place}`" not in section]


def _gone(prefix: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[Change]:
    for name in old.keys() - new.keys():
        yield Change(f"{prefix}{name}", "was removed")


# --- OpenAPI --------------------------------------------------------------------------------------


def _paths(old: Json, new: Json) -> Iterator[Change]:
    before, after = _operations(old), _operations(new)
    yield from _gone("", before, after)
    for place in before.keys() & after.keys():
        yield from _HttpOperation(old, new, place, before[place], after[place]).changes()


def _operations(document: Json) -> dict[str, Json]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


class _HttpOperation:
    """Compares one operation of two OpenAPI documents."""

    def __init__(self, old: Json, new: Json, place: str, before: Json, after: Json) -> None:
        self._documents = old, new
        self._place, self._before, self._after = place, before, after

    def changes(self) -> Iterator[Change]:
        yield from self._identity()
        yield from self._parameters()
        yield from self._body()
        yield from self._responses()

    def _identity(self) -> Iterator[Change]:
        ids = self._before["operationId"], self._after["operationId"]
        if ids[0] != ids[1]:
            yield Change(self._place, f"operationId is {ids[1]}, was {ids[0]}")
        old, new = (
            {name for choice in side.get("security", document["security"]) for name in choice}
            for side, document in zip((self._before, self._after), self._documents, strict=True)
        )
        if new and not old:
            yield Change(self._place, "now requires a key")
        for name in old - new if new else ():
            yield Change(self._place, f"no longer accepts the credentials `{name}`")

    def _parameters(self) -> Iterator[Change]:
        old, new = (
            {f"{p['in']}.{p['name']}": p for p in side["parameters"]}
            for side in (self._before, self._after)
        )
        yield from _gone(f"{self._place} ", old, new)
        for name in new:
            was_required = old.get(name, {}).get("required", False)
            if new[name].get("required", False) and not was_required:
                yield Change(f"{self._place} {name}", "is now required")
        for name in old.keys() & new.keys():
            place = f"{self._place} {name}"
            yield from self._schema(place, "request", old[name]["schema"], new[name]["schema"])

    def _body(self) -> Iterator[Change]:
        old, new = (side.get("requestBody", {}) for side in (self._before, self._after))
        place = f"{self._place} body"
        if old and not new:
            yield Change(place, "was removed")
            return
        if new.get("required") and not old.get("required"):
            yield Change(place, "is now required")
        yield from self._content(place, "request", old.get("content", {}), new.get("content", {}))

    def _responses(self) -> Iterator[Change]:
        old, new = self._before["responses"], self._after["responses"]
        yield from _gone(f"{self._place} ", old, new)
        for status in new.keys() - old.keys():
            if status < "4":  # a client does not expect another success; it survives a new error
                yield Change(f"{self._place} {status}", "is a new success")
        for status in old.keys() & new.keys():
            place = f"{self._place} {status}"
            headers = old[status].get("headers", {}), new[status].get("headers", {})
            yield from _gone(f"{place} ", *headers)
            for name in headers[0].keys() & headers[1].keys():
                schemas = (side[name]["schema"] for side in headers)
                yield from self._schema(f"{place} {name}", "response", *schemas)
            contents = old[status].get("content", {}), new[status].get("content", {})
            yield from self._content(place, "response", *contents)

    def _content(self, place: str, direction: Direction, old: Json, new: Json) -> Iterator[Change]:
        yield from _gone(f"{place} ", old, new)
        for media in old.keys() & new.keys():
            schemas = old[media].get("schema", {}), new[media].get("schema", {})
            yield from self._schema(place, direction, *schemas)

    def _schema(self, place: str, direction: Direction, old: Json, new: Json) -> Iterator[Change]:
        return SchemaComparison(*self._documents, direction).changes(place, old, new)


# --- AsyncAPI -------------------------------------------------------------------------------------


def _channels(old: Json, new: Json) -> Iterator[Change]:
    before, after = old["channels"], new["channels"]
    yield from _gone("channel ", before, after)
    for name in before.keys() & after.keys():
        place, sides = f"channel {name}", (before[name], after[name])
        if before[name]["address"] != after[name]["address"]:
            yield Change(place, f"the address is {after[name]['address']}")
        for part in ("x-handshake-refusals", "x-close-codes"):
            yield from _gone(f"{place} ", *(side.get(part, {}) for side in sides))
        for part in ("query", "headers"):
            schemas = (side["bindings"]["ws"].get(part, {}) for side in sides)
            yield from SchemaComparison(old, new, "request").changes(f"{place} {part}", *schemas)


def _socket_operations(old: Json, new: Json) -> Iterator[Change]:
    before, after = old["operations"], new["operations"]
    yield from _gone("", before, after)
    for name in before.keys() & after.keys():
        sides = before[name], after[name]
        if sides[0]["action"] != sides[1]["action"]:
            yield Change(name, f"the action is {sides[1]['action']}")
        direction: Direction = "request" if sides[0]["action"] == "receive" else "response"
        yield from _messages(old, new, name, direction, sides)
        replies = tuple(side.get("reply", {"messages": []}) for side in sides)
        yield from _messages(old, new, f"{name} reply", "response", replies)


def _messages(
    old: Json, new: Json, place: str, direction: Direction, sides: tuple[Json, ...]
) -> Iterator[Change]:
    before, after = ({ref["$ref"].rpartition("/")[2] for ref in side["messages"]} for side in sides)
    for name in before - after:
        yield Change(f"{place} {name}", "was removed")
    for name in before & after:
        schemas = (side["components"]["messages"][name]["payload"] for side in (old, new))
        yield from SchemaComparison(old, new, direction).changes(name, *schemas)
