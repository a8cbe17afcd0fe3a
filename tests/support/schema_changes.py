"""Which changes of a JSON Schema break a client that was written for the old one.

A client's old request must stay valid, and a new answer must be valid by the old schema, apart from
fields that it has gained. So one schema must cover the other: the new one covers the old one for
what a client sends, and the old one covers the new one for what a client receives. Beside that, a
field or a value that is gone is a change in both directions.

A keyword that this module does not know is an error, so that no change passes unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Json = Any
Direction = Literal["request", "response"]

# A covering schema's minimum is at most as large, and its maximum at least as large.
_MINIMA = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MAXIMA = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SAME = ("pattern", "format", "uniqueItems")  # a covering schema has the same value, or none
_LIMITS = (*_MINIMA, *_MAXIMA, *_SAME, "multipleOf")
_COMPARED = {
    *_LIMITS,
    *("$ref", "additionalProperties", "anyOf", "const", "default", "enum", "items"),
    *("oneOf", "properties", "propertyNames", "required", "type"),
}
# They allow and forbid nothing.
_NOTES = {"contentMediaType", "description", "discriminator", "examples", "title"}


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One breaking change. `place` names a model's field or an operation, and is stable."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"`{self.place}`: {self.what}"


@dataclass(frozen=True, slots=True)
class SchemaComparison:
    """Compares schemas of two documents; each side resolves its own references."""

    old: Json
    new: Json
    direction: Direction

    def changes(self, place: str, old: Json, new: Json) -> Iterator[Change]:
        """The breaking changes from schema `old` to schema `new`."""
        yield from self._changes(place, old, new, frozenset())

    def _changes(
        self, place: str, old: Json, new: Json, seen: frozenset[tuple[str, str]]
    ) -> Iterator[Change]:
        names = _name(old), _name(new)
        if all(names):
            if names in seen:
                return  # a model that contains itself
            seen, place = seen | {names}, names[0]
        if self.direction == "request" and old.get("default") != new.get("default"):
            yield Change(place, f"the default is {new.get('default')}, was {old.get('default')}")
        old, new = _resolved(self.old, old), _resolved(self.new, new)
        _check_keywords(place, old)
        _check_keywords(place, new)
        if len(_branches(old)) == len(_branches(new)) == 1:
            yield from self._one(place, _branches(old)[0], _branches(new)[0], seen)
        else:
            yield from self._many(place, old, new, seen)

    def _many(
        self, place: str, old: Json, new: Json, seen: frozenset[tuple[str, str]]
    ) -> Iterator[Change]:
        """Each alternative of the covered schema must be covered by one of the other's."""
        is_request = self.direction == "request"
        covered, covering = (old, new) if is_request else (new, old)
        for branch in _branches(covered):
            changes: dict[str, list[Change]] = {}  # against each alternative, by its label
            for other in _branches(covering):
                pair = (branch, other) if is_request else (other, branch)
                found = list(self._changes(place, *pair, seen))
                if not found:
                    break
                changes.setdefault(_label(other), found)
            else:
                label, verb = _label(branch), "no longer accepts" if is_request else "can now be"
                yield from changes.get(label, [Change(place, f"{verb} {label}")])

    def _one(
        self, place: str, old: Json, new: Json, seen: frozenset[tuple[str, str]]
    ) -> Iterator[Change]:
        if "$ref" in old or "$ref" in new:
            yield from self._changes(place, old, new, seen)
            return
        covered, covering = (old, new) if self.direction == "request" else (new, old)
        if not _types(covered) <= _types(covering):
            yield Change(place, f"the type is {_label(new)}, was {_label(old)}")
            return
        yield from _values(place, old, new, covering)
        for keyword in _LIMITS:
            if not _covers(keyword, covering.get(keyword), covered.get(keyword)):
                values = f"{new.get(keyword, 'gone')}, was {old.get(keyword, 'open')}"
                yield Change(place, f"{keyword} is {values}")
        yield from self._fields(place, old, new, seen)
        if "items" in old or "items" in new:
            yield from self._changes(f"{place}[]", old.get("items", {}), new.get("items", {}), seen)

    def _fields(
        self, place: str, old: Json, new: Json, seen: frozenset[tuple[str, str]]
    ) -> Iterator[Change]:
        if not _types(old) & _types(new) & {"object"}:
            return
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in before.keys() - after.keys():
            yield Change(f"{place}.{name}", "was removed")
        for name in before.keys() & after.keys():
            yield from self._changes(f"{place}.{name}", before[name], after[name], seen)
        yield from self._required(place, old, new)
        others = old.get("additionalProperties", True)
        if others is not False:  # a field that is new by name may have been sent without one
            for name in after.keys() - before.keys():
                known = {} if others is True else others
                yield from self._changes(f"{place}.{name}", known, after[name], seen)
        yield from self._other_fields(place, old, new, seen)

    def _required(self, place: str, old: Json, new: Json) -> Iterator[Change]:
        before, after = ({*side.get("required", ())} for side in (old, new))
        if self.direction == "request":
            for name in after - before:
                yield Change(f"{place}.{name}", "is now required")
        else:
            for name in (before - after) & new.get("properties", {}).keys():
                yield Change(f"{place}.{name}", "is no longer always present")

    def _other_fields(
        self, place: str, old: Json, new: Json, seen: frozenset[tuple[str, str]]
    ) -> Iterator[Change]:
        """Compare the fields that are not listed by name, and the names that fields may have."""
        before, after = (side.get("additionalProperties", True) for side in (old, new))
        if before is not False and after is not False and (before, after) != (True, True):
            schemas = [{} if side is True else side for side in (before, after)]
            yield from self._changes(f"{place}.*", schemas[0], schemas[1], seen)
        elif self.direction == "request" and before is not False and after is False:
            yield Change(place, "no longer accepts further fields")
        names = [side.get("propertyNames") for side in (old, new)]
        if any(names):
            yield from self._changes(f"{place} (names)", names[0] or {}, names[1] or {}, seen)


def _values(place: str, old: Json, new: Json, covering: Json) -> Iterator[Change]:
    """Changes of the listed values: those that are gone, and those that are not covered."""
    before, after = _listed(old), _listed(new)
    if before is not None and after is not None:
        for text in before - after:
            yield Change(place, f"no longer has the value {text}")
        for text in after - before if covering is old else ():
            yield Change(place, f"can now be {text}")
    elif _listed(covering) is not None:
        verb = "has only listed" if covering is new else "is no longer limited to listed"
        yield Change(place, f"{verb} values")


def _covers(keyword: str, covering: Json, covered: Json) -> bool:
    """Whether every value that the keyword allows in `covered` is allowed in `covering` too."""
    if covering is None or covering is False:
        return True
    if covered is None:
        return False
    if keyword == "multipleOf":
        return bool(covered % covering == 0)
    if keyword in _MINIMA:
        return bool(covering <= covered)
    if keyword in _MAXIMA:
        return bool(covering >= covered)
    return bool(covering == covered)


def _branches(schema: Json) -> Sequence[Json]:
    """The alternatives of a schema; one that has none is its own only alternative."""
    found: Sequence[Json] | None = schema.get("anyOf") or schema.get("oneOf")
    # The default belongs to the schema as a whole, which was compared before.
    return found or [{key: value for key, value in schema.items() if key != "default"}]


def _listed(schema: Json) -> set[str] | None:
    """The only values that the schema allows, as JSON; None if it lists none."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return None if values is None else {json.dumps(value) for value in values}


_ALL_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def _type_of(text: str) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return kinds[type(json.loads(text))]


def _types(schema: Json) -> frozenset[str]:
    named = schema.get("type")
    if named is None:
        values = _listed(schema)
        return _ALL_TYPES if values is None else frozenset(map(_type_of, values))
    types = frozenset([named] if isinstance(named, str) else named)
    return types | {"integer"} if "number" in types else types


def _label(schema: Json) -> str:
    """A short name for people."""
    if name := _name(schema):
        return name
    types = _types(schema)
    shown = types - {"integer"} if "number" in types else types
    return "anything" if types == _ALL_TYPES else " or ".join(sorted(shown))


def _name(schema: Json) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _resolved(document: Json, schema: Json) -> Json:
    while "$ref" in schema:
        target = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema


def _check_keywords(place: str, schema: Json) -> None:
    unknown = {key for key in schema if key not in _COMPARED | _NOTES and not key.startswith("x-")}
    if unknown:
        raise ValueError(f"{place}: {', '.join(sorted(unknown))} cannot be compared yet")
