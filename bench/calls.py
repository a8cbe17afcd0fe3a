"""Counts the AWS calls of this process by what they are charged for.

DynamoDB charges a write by the larger of the row before and after, in steps of 1 KB, and once more
for each entry of an index that is put or taken away; so each write's row is looked at before and
after, by a client that is not counted.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any

KILOBYTE, READ_UNIT = 1024, 4096
_UNITS = " units"  # what DynamoDB counts beside calls
# DynamoDB's own books: what each row, number and container takes beyond its text.
_CONTAINER = 3

Row = Mapping[str, Any]
Image = tuple[Row | None, Row | None]  # before and after
Indexes = Mapping[str, list[str]]  # the key attributes of each


def size_of(row: Row) -> int:
    """How many bytes DynamoDB takes the row for, rounded up where its rule is vague."""
    return sum(len(name.encode()) + _size(value) for name, value in row.items())


def _size(value: Mapping[str, Any]) -> int:
    ((kind, inner),) = value.items()
    match kind:
        case "S":
            return len(inner.encode())
        case "B":
            return len(inner)
        case "N":
            return ceil(len(inner) / 2) + 2
        case "M":
            return _CONTAINER + sum(len(n.encode()) + _size(v) + 1 for n, v in inner.items())
        case "L":
            return _CONTAINER + sum(_size(v) + 1 for v in inner)
        case _:
            return 1


TABLE = "table"


def write_units(before: Row | None, after: Row | None, indexes: Indexes) -> Counter[str]:
    """Write units of one change, by the table and its indexes."""
    rows = [row for row in (before, after) if row is not None]
    base = max((ceil(size_of(row) / KILOBYTE) for row in rows), default=1)
    entries = {name: _index_units(before, after, keys) for name, keys in indexes.items()}
    return Counter({TABLE: base, **entries})


def _index_units(before: Row | None, after: Row | None, keys: list[str]) -> int:
    def entry(row: Row | None) -> list[Any] | None:
        return [row[key] for key in keys] if row and all(key in row for key in keys) else None

    old, new = entry(before), entry(after)
    return 0 if old == new else (old is not None) + (new is not None)


@dataclass(slots=True)
class Ledger:
    """What was counted, by service and what it charges for, and the changes of rows in order.

    `units` are the write units of each kind of change, as `kind_of` tells them apart; changes
    without a kind are not counted.
    """

    kind_of: Callable[[str, Image], str | None] = lambda table, _image: table
    counted: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    units: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    changes: list[tuple[str, Image]] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.RLock)
    _before: dict[int, Row | None] = field(default_factory=dict)

    @contextmanager
    def watching(self, session: Any) -> Iterator[None]:
        """Count every call of the clients that the session makes within the block."""
        tables = _Tables(session.client("dynamodb"))
        events = session.events if hasattr(session, "events") else session._session
        hooks = {
            "before-parameter-build.dynamodb": self._remember(tables),
            "after-call": self._note(tables),
        }
        for name, hook in hooks.items():
            events.register(name, hook)
        try:
            yield
        finally:
            for name, hook in hooks.items():
                events.unregister(name, hook)

    def _remember(self, tables: _Tables) -> Any:
        def remember(params: Any, model: Any, context: Any, **_: Any) -> None:
            if tables.asks:
                return
            writes = _writes(model.name, params)
            context["counted"] = (params, [(write, tables.row(write)) for write in writes])

        return remember

    def _note(self, tables: _Tables) -> Any:
        def note(http_response: Any, parsed: Any, model: Any, context: Any, **_: Any) -> None:
            if tables.asks:
                return
            with self._lock:
                self._count(tables, model, parsed, context, http_response)

        return note

    def _count(self, tables: _Tables, model: Any, parsed: Any, context: Any, http: Any) -> None:
        service, name = model.service_model.service_name, model.name
        if service != "dynamodb":
            self.counted[service, name] += 1
            return
        params, writes = context["counted"]
        is_done = http.status_code == 200
        kinds = [self._write(tables, name, write, old, is_done) for write, old in writes]
        if not writes:
            self.counted[service, "read units"] += _read_units(parsed, params)
        if not kinds or any(kinds):
            self.counted[service, name] += 1

    def _write(
        self, tables: _Tables, name: str, write: Any, before: Row | None, is_done: bool
    ) -> str | None:
        image = before, tables.row(write)
        if is_done:
            self.changes.append((write["TableName"], image))
        kind = self.kind_of(write["TableName"], image)
        if kind is not None:
            units = write_units(*image, tables.indexes(write["TableName"]))
            for where, number in units.items():  # within a transaction a write costs twice
                self.units[kind][where] += number * (1 + (name == "TransactWriteItems"))
            self.counted["dynamodb", "write units"] = self.written
        return kind

    @property
    def calls(self) -> float:
        """All calls."""
        return calls_in(self.counted)

    @property
    def written(self) -> int:
        """All write units."""
        return sum(units.total() for units in self.units.values())


def calls_in(counted: Mapping[tuple[str, str], float]) -> float:
    """All calls among what was counted; units are none."""
    return sum(number for (_, name), number in counted.items() if not name.endswith(_UNITS))


def _writes(name: str, params: Any) -> list[Any]:
    """What writes one row each, with its table and its key or its row."""
    if name == "TransactWriteItems":
        return [action for item in params["TransactItems"] for action in item.values()]
    if name == "BatchWriteItem":
        return [
            {"TableName": table, **inner}
            for table, writes in params["RequestItems"].items()
            for write in writes
            for inner in write.values()
        ]
    return [params] if name in _ONE_ROW else []


_ONE_ROW = frozenset({"PutItem", "UpdateItem", "DeleteItem"})


def _read_units(parsed: Any, params: Any) -> float:
    rows = [parsed["Item"]] if "Item" in parsed else list(parsed.get("Items", []))
    for found in parsed.get("Responses", {}).values():
        rows += found
    units = max(1, ceil(sum(size_of(row) for row in rows) / READ_UNIT))
    return units if "ConsistentRead" in str(params) and "True" in str(params) else units / 2


class _Tables:
    """Rows and indexes, asked for without being counted."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._thread = threading.local()
        self._indexes: dict[str, dict[str, list[str]]] = {}
        self._keys: dict[str, list[str]] = {}

    @property
    def asks(self) -> bool:
        return getattr(self._thread, "asks", False)

    def row(self, params: Any) -> Row | None:
        table = params["TableName"]
        self.indexes(table)
        given = params.get("Key") or params["Item"]
        key = {name: given[name] for name in self._keys[table]}
        answer = self._ask("get_item", TableName=table, Key=key, ConsistentRead=True)
        found: Row | None = answer.get("Item")
        return found

    def indexes(self, table: str) -> dict[str, list[str]]:
        if table not in self._indexes:
            about = self._ask("describe_table", TableName=table)["Table"]
            self._keys[table] = [key["AttributeName"] for key in about["KeySchema"]]
            self._indexes[table] = {
                index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
                for index in about.get("GlobalSecondaryIndexes", [])
            }
        return self._indexes[table]

    def _ask(self, what: str, **how: Any) -> Any:
        self._thread.asks = True
        try:
            return getattr(self._client, what)(**how)
        finally:
            self._thread.asks = False
