"""One DynamoDB table in memory, fast enough for ten thousands of transactions.

moto copies its tables for each transaction. This knows only the calls and expressions that the
slots and the ledger use, and refuses all others. tests/scale/test_table.py holds it to the same
tests as moto.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, Any]
Key = tuple[str, str]

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "<": lambda a, b: bool(a < b),
}


class ConditionalCheckFailedException(ClientError):
    """A condition does not hold."""


class TransactionCanceledException(ClientError):
    """A condition of a transaction does not hold."""


class Table:
    """A boto3 client of DynamoDB with one table, which has every name."""

    exceptions = SimpleNamespace(
        ConditionalCheckFailedException=ConditionalCheckFailedException,
        TransactionCanceledException=TransactionCanceledException,
    )

    def __init__(self) -> None:
        self._items: defaultdict[str, dict[str, Item]] = defaultdict(dict)
        self._sorted: defaultdict[str, list[str]] = defaultdict(list)

    # --- reading ----------------------------------------------------------------------------------

    def get_item(self, *, TableName: str, Key: Any, ConsistentRead: bool) -> Any:  # noqa: N803
        item = self._get(_key_of(Key))
        return {"Item": dict(item)} if item else {}

    def query(self, **request: Any) -> Any:
        values = {name: _value(v) for name, v in request["ExpressionAttributeValues"].items()}
        pk = values.pop(":pk")
        own, sorted_keys = self._items.get(pk, {}), self._sorted.get(pk, [])
        first, last = _range(request["KeyConditionExpression"], values)
        keys = sorted_keys[bisect_left(sorted_keys, first) : bisect_right(sorted_keys, last)]
        return {"Items": [dict(own[sk]) for sk in keys[: request.get("Limit")]]}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "query", operation
        return SimpleNamespace(paginate=lambda **request: iter([self.query(**request)]))

    # --- writing ----------------------------------------------------------------------------------

    def update_item(self, **write: Any) -> Any:
        self._require(write, "UpdateItem")
        self._update(write)
        return {}

    def put_item(self, **write: Any) -> Any:
        self._require(write, "PutItem")
        self._put(write)
        return {}

    def transact_write_items(self, *, TransactItems: Any) -> Any:  # noqa: N803
        writes = [next(iter(action.items())) for action in TransactItems]
        codes = ["None" if self._holds(w) else "ConditionalCheckFailed" for _, w in writes]
        if set(codes) != {"None"}:
            reasons = [{"Code": code} for code in codes]
            error = {"Error": {"Code": "TransactionCanceledException"}}
            answer: Any = {**error, "CancellationReasons": reasons}
            raise TransactionCanceledException(answer, "TransactWriteItems")
        for kind, write in writes:
            {"Put": self._put, "Update": self._update, "Delete": self._delete}[kind](write)
        return {}

    def _require(self, write: Any, operation: str) -> None:
        if not self._holds(write):
            answer: Any = {"Error": {"Code": "ConditionalCheckFailedException"}}
            raise ConditionalCheckFailedException(answer, operation)

    def _holds(self, write: Any) -> bool:
        item = self._get(_key_of(write.get("Key") or write["Item"])) or {}
        condition = write.get("ConditionExpression")
        return condition is None or any(
            all(_is_true(clause, item, write) for clause in part.split(" AND "))
            for part in condition.split(" OR ")
        )

    def _get(self, key: Key) -> Item | None:
        return self._items.get(key[0], {}).get(key[1])

    def _put(self, write: Any) -> None:
        pk, sk = _key_of(write["Item"])
        self._set(pk, sk, dict(write["Item"]))

    def _set(self, pk: str, sk: str, item: Item) -> None:
        if sk not in self._items[pk]:
            insort(self._sorted[pk], sk)
        self._items[pk][sk] = item

    def _delete(self, write: Any) -> None:
        pk, sk = _key_of(write["Key"])
        if self._items[pk].pop(sk, None) is not None:
            self._sorted[pk].remove(sk)

    def _update(self, write: Any) -> None:
        pk, sk = _key_of(write["Key"])
        item = self._items[pk].get(sk) or dict(write["Key"])
        self._set(pk, sk, item)
        _apply(write, item)


def _apply(write: Any, item: Item) -> None:
    """Change the item as the expression says. Every value is computed from the item before."""
    words = re.split(r"(?:^| )(SET|ADD|REMOVE) ", write["UpdateExpression"])[1:]
    changes: Item = {}
    for verb, clauses in zip(words[::2], words[1::2], strict=True):
        for clause in re.split(r", (?![^(]*\))", clauses):
            if verb == "REMOVE":
                changes[_name(clause, write)] = None
            else:
                term, value = clause.split(" = " if verb == "SET" else " ", 1)
                made = {"SET": _assigned, "ADD": _added}[verb]
                changes[_name(term, write)] = made(item, term, value, write)
    item.update(changes)
    for name in [name for name, value in changes.items() if value is None]:
        del item[name]


def _assigned(item: Item, term: str, value: str, write: Any) -> Any:
    if found := re.fullmatch(r"if_not_exists\((.+), (.+)\)", value):
        kept = item.get(_name(found[1], write))
        return kept or write["ExpressionAttributeValues"][found[2]]
    if " + " not in value and value.startswith(":"):
        return write["ExpressionAttributeValues"][value]
    terms = (_number(item, part, write) for part in value.split(" + "))
    return {"N": format(sum(terms, Decimal(0)), "f")}


def _added(item: Item, term: str, value: str, write: Any) -> Any:
    more = write["ExpressionAttributeValues"][value]
    if "SS" in more:
        known = item.get(_name(term, write), {"SS": []})["SS"]
        return {"SS": sorted({*known, *more["SS"]})}
    return {"N": format(_number(item, term, write) + Decimal(more["N"]), "f")}


def _is_true(clause: str, item: Item, write: Any) -> bool:
    if found := re.fullmatch(r"attribute_(not_)?exists\((.+)\)", clause):
        return (_name(found[2], write) in item) is (found[1] is None)
    if found := re.fullmatch(r"contains\((.+), (.+)\)", clause):
        sought = write["ExpressionAttributeValues"][found[2]]["S"]
        return sought in item.get(_name(found[1], write), {"SS": []})["SS"]
    left, sign, right = clause.split(" ")
    if found := re.fullmatch(r"size\((.+)\)", left):
        size = len(item.get(_name(found[1], write), {"SS": []})["SS"])
        return _COMPARE[sign](size, _number(item, right, write))
    if _name(left, write) not in item:
        return False
    return _COMPARE[sign](_number(item, left, write), _number(item, right, write))


def _number(item: Item, term: str, write: Any) -> Decimal:
    if term.startswith(":"):
        return Decimal(write["ExpressionAttributeValues"][term]["N"])
    return Decimal(item.get(_name(term, write), {"N": "0"})["N"])


def _name(term: str, write: Any) -> str:
    return str(write.get("ExpressionAttributeNames", {}).get(term, term))


def _range(condition: str, values: Mapping[str, str]) -> tuple[str, str]:
    """The first and the last sort key that match."""
    _, _, rest = condition.partition(" AND ")
    if not rest:
        return "", chr(sys.maxunicode)
    if found := re.fullmatch(r"begins_with\(sk, (:\w+)\)", rest):
        return values[found[1]], values[found[1]] + chr(sys.maxunicode)
    found = re.fullmatch(r"sk BETWEEN (:\w+) AND (:\w+)", rest)
    assert found, condition
    return values[found[1]], values[found[2]]


def _key_of(item: Item) -> Key:
    return item["pk"]["S"], item["sk"]["S"]


def _value(attribute: Mapping[str, str]) -> str:
    (value,) = attribute.values()
    return value
