"""Counts the AWS calls of this process, in the units that AWS charges for.

DynamoDB charges a write by the larger of the item before and after the write, in steps of 1 KB, and
one more unit for each index entry that is added or removed. So the ledger reads the item of each
write before and after it, with a client that it does not count.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from tests.support.item_size import WRITE_UNIT, item_size

READ_UNIT = 4096  # bytes that one consistent read unit pays for
WRITES, READS = "dynamodb write units", "dynamodb read units"
TABLE = "table"

Item = Mapping[str, Any]
Change = tuple[Item | None, Item | None]  # the item before and after the write
Indexes = Mapping[str, list[str]]  # the key attributes of each index


def write_units(before: Item | None, after: Item | None, indexes: Indexes) -> Counter[str]:
    """The write units of one change, for the table and for each index."""
    items = [item for item in (before, after) if item is not None]
    base = max((ceil(item_size(item) / WRITE_UNIT) for item in items), default=1)
    entries = {name: _index_units(before, after, keys) for name, keys in indexes.items()}
    return Counter({TABLE: base, **entries})


def _index_units(before: Item | None, after: Item | None, keys: list[str]) -> int:
    def entry(item: Item | None) -> list[Any] | None:
        return [item[key] for key in keys] if item and all(key in item for key in keys) else None

    old, new = entry(before), entry(after)
    return 0 if old == new else (old is not None) + (new is not None)


def calls_in(counted: Mapping[str, float]) -> float:
    """The number of all calls among the counts; DynamoDB's units are not calls."""
    return sum(number for name, number in counted.items() if name not in (WRITES, READS))


@dataclass(slots=True)
class Ledger:
    """The counted calls and units, and the changes of items in order.

    `counted` is by service and operation, such as "sqs SendMessage", beside DynamoDB's units.
    `units` are the write units of each kind of change; `kind_of` names the kind from the table and
    the change. Changes for which it returns None are not counted.
    """

    kind_of: Callable[[str, Change], str | None] = lambda table, _change: table
    counted: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    units: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    changes: list[tuple[str, Change]] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.RLock)

    @property
    def calls(self) -> float:
        """The number of all calls."""
        return calls_in(self.counted)

    @property
    def written(self) -> int:
        """The number of all write units."""
        return sum(units.total() for units in self.units.values())

    @contextmanager
    def watching(self, session: Any) -> Iterator[None]:
        """Count every call of the clients that the session creates within the block."""
        tables = _Tables(session.client("dynamodb"))
        events = session.events if hasattr(session, "events") else session._session
        hooks = {
            "before-parameter-build.dynamodb": self._before_call(tables),
            "after-call": self._after_call(tables),
        }
        for name, hook in hooks.items():
            events.register(name, hook)
        try:
            yield
        finally:
            for name, hook in hooks.items():
                events.unregister(name, hook)

    def _before_call(self, tables: _Tables) -> Any:
        def remember(params: Any, model: Any, context: Any, **_: Any) -> None:
            if not tables.is_reading:
                writes = _writes(model.name, params)
                context["counted"] = (params, [(write, tables.item(write)) for write in writes])

        return remember

    def _after_call(self, tables: _Tables) -> Any:
        def count(http_response: Any, parsed: Any, model: Any, context: Any, **_: Any) -> None:
            if not tables.is_reading:
                with self._lock:
                    self._count(tables, model, parsed, context, http_response)

        return count

    def _count(self, tables: _Tables, model: Any, parsed: Any, context: Any, http: Any) -> None:
        service, name = model.service_model.service_name, model.name
        if service != "dynamodb":
            self.counted[f"{service} {name}"] += 1
            return
        params, writes = context["counted"]
        is_done = http.status_code == 200
        kinds = [self._write(tables, name, write, old, is_done) for write, old in writes]
        if not writes:
            self.counted[READS] += _read_units(parsed, params)
        if not kinds or any(kinds):
            self.counted[f"{service} {name}"] += 1

    def _write(
        self, tables: _Tables, name: str, write: Any, before: Item | None, is_done: bool
    ) -> str | None:
        change = before, tables.item(write)
        if is_done:
            self.changes.append((write["TableName"], change))
        kind = self.kind_of(write["TableName"], change)
        if kind is not None:
            units = write_units(*change, tables.indexes(write["TableName"]))
            for place, number in units.items():  # within a transaction a write costs double
                self.units[kind][place] += number * (1 + (name == "TransactWriteItems"))
            self.counted[WRITES] = self.written
        return kind


def _writes(name: str, params: Any) -> list[Any]:
    """The writes of a call, each of one item: its table, with its key or the item itself."""
    if name == "TransactWriteItems":
        return [action for item in params["TransactItems"] for action in item.values()]
    if name == "BatchWriteItem":
        return [
            {"TableName": table, **inner}
            for table, writes in params["RequestItems"].items()
            for write in writes
            for inner in write.values()
        ]
    return [params] if name in ("PutItem", "UpdateItem", "DeleteItem") else []


def _read_units(parsed: Any, params: Any) -> float:
    items = [parsed["Item"]] if "Item" in parsed else list(parsed.get("Items", []))
    for found in parsed.get("Responses", {}).values():
        items += found
    units = max(1, ceil(sum(item_size(item) for item in items) / READ_UNIT))
    return units if "ConsistentRead" in str(params) and "True" in str(params) else units / 2


class _Tables:
    """Reads items and indexes without being counted."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._thread = threading.local()
        self._indexes: dict[str, dict[str, list[str]]] = {}
        self._keys: dict[str, list[str]] = {}

    @property
    def is_reading(self) -> bool:
        return getattr(self._thread, "is_reading", False)

    def item(self, params: Any) -> Item | None:
        table = params["TableName"]
        self.indexes(table)
        given = params.get("Key") or params["Item"]
        key = {name: given[name] for name in self._keys[table]}
        answer = self._call("get_item", TableName=table, Key=key, ConsistentRead=True)
        found: Item | None = answer.get("Item")
        return found

    def indexes(self, table: str) -> dict[str, list[str]]:
        if table not in self._indexes:
            declared = self._call("describe_table", TableName=table)["Table"]
            self._keys[table] = [key["AttributeName"] for key in declared["KeySchema"]]
            self._indexes[table] = {
                index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
                for index in declared.get("GlobalSecondaryIndexes", [])
            }
        return self._indexes[table]

    def _call(self, operation: str, **parameters: Any) -> Any:
        self._thread.is_reading = True
        try:
            return getattr(self._client, operation)(**parameters)
        finally:
            self._thread.is_reading = False
