"""Malformed items, made from good ones by combining damage. A fixed seed makes a failure repeat."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

Attributes = dict[str, Any]  # of an item of DynamoDB
Damage = Callable[[Attributes, random.Random], Attributes]
T = TypeVar("T")

SEED = 20_261_129
DEPTH = 100_000  # of lists in messages and records
LONG_ID = "job_" + "x" * 2_996
LONE_SURROGATE = "\ud800"
HUGE = ("1E+100", "-1E+100", "9" * 38, "-" + "9" * 38, "1E-100")
# The tables' keys and the keys of the indexes: DynamoDB guarantees that these have the right type.
_KEYS = ("pk", "sk", "due_shard", "due_at", "owner", "status", "listed_at")
_REQUIRED = ("schema", "version", "priority", "queued_at", "fingerprint", "retention")
_WRONG: Sequence[Attributes] = (
    {"L": []},
    {"NULL": True},
    {"B": b"\xff\x00"},
    {"M": {"S": {"S": "x"}}},
    {"SS": ["x"]},
    {"BOOL": True},
)


def _rng(n: int) -> random.Random:
    return random.Random(f"{SEED} {n}")


# --- rows of the jobs table -----------------------------------------------------------------------


def malformed_row(good: Mapping[str, Any], n: int) -> Attributes:
    """The row `good` with damage number `n`, in a form that the jobs table accepts."""
    return _damaged({**good}, _ROW_DAMAGE, n)


def _damaged(item: Attributes, kinds: Sequence[Damage], n: int) -> Attributes:
    """One kind of damage after the other in turn, and each with up to two others."""
    rng = _rng(n)
    for damage in (kinds[n % len(kinds)], *rng.sample(kinds, rng.randint(0, 2))):
        item = damage(item, rng)
    return item


def _future_schema(row: Attributes, rng: random.Random) -> Attributes:
    return row | {"schema": {"N": str(rng.randint(3, 10**6))}}


def _missing(row: Attributes, rng: random.Random) -> Attributes:
    row.pop(rng.choice(_REQUIRED), None)
    return row


def _truncated(row: Attributes, rng: random.Random) -> Attributes:
    return {name: value for name, value in row.items() if name in _KEYS}


def _wrong_type(row: Attributes, rng: random.Random) -> Attributes:
    return row | {rng.choice(_REQUIRED): rng.choice(_WRONG)}


def _nested(row: Attributes, rng: random.Random) -> Attributes:
    value: Attributes = {"S": "deep"}
    for _ in range(30):  # DynamoDB allows 32 levels
        value = {"L": [value]}
    return row | {rng.choice(["history", "schema", "options"]): value}


def _wrong_size(row: Attributes, rng: random.Random) -> Attributes:
    name = rng.choice(["queued_at", "version", "start_deadline", "retention"])
    return row | {name: {"N": rng.choice(HUGE)}, "schema": {"N": rng.choice(HUGE)}}


def _unknown_value(row: Attributes, rng: random.Random) -> Attributes:
    text = rng.choice(["none", "x" * 900, "\x00", "queued\x00", "QUEUED", "\ufffd"])
    return row | {rng.choice(["status", "priority"]): {"S": text}}


def _large(row: Attributes, rng: random.Random) -> Attributes:
    return row | {"history": {"L": [{"S": "x\x00" * 100_000}]}}


def _ended_without_time(row: Attributes, rng: random.Random) -> Attributes:
    row.pop("finished_at", None)
    return row | {"status": {"S": "succeeded"}}


_ROW_DAMAGE: tuple[Damage, ...] = (
    _future_schema,
    _missing,
    _truncated,
    _wrong_type,
    _nested,
    _wrong_size,
    _unknown_value,
    _large,
    _ended_without_time,
)


# --- reports of workers ---------------------------------------------------------------------------


def malformed_report(good: Mapping[str, Any], n: int) -> Attributes:
    """The report `good` with damage number `n`. It is still one that a query for reports finds."""
    return _damaged({**good}, _REPORT_DAMAGE, n)


def _report_without(report: Attributes, rng: random.Random) -> Attributes:
    report.pop("running", None)
    return report


def _report_of_wrong_type(report: Attributes, rng: random.Random) -> Attributes:
    return report | {"running": rng.choice(_WRONG)}


def _report_of_wrong_size(report: Attributes, rng: random.Random) -> Attributes:
    return report | {"running": {"N": "1E+100"}, "until": {"N": rng.choice(["9" * 38, "1E+100"])}}


def _report_with_text(report: Attributes, rng: random.Random) -> Attributes:
    return report | {"running": {"S": rng.choice(["\x00", "x" * 3_000, "many"])}}


_REPORT_DAMAGE: tuple[Damage, ...] = (
    _report_without,
    _report_of_wrong_type,
    _report_of_wrong_size,
    _report_with_text,
)


# --- records of the stream ------------------------------------------------------------------------


def malformed_record(good: Mapping[str, Any], n: int) -> Any:
    """The record `good` with damage number `n`, as Lambda might pass it to a function.

    It keeps its sequence number where it is a record at all.
    """
    rng = _rng(n)
    change = good["dynamodb"]
    after = change["NewImage"]
    kinds: Sequence[Callable[[], Any]] = (
        lambda: _image(good, malformed_row(after, n)),
        lambda: _image(good, _deep(rng.choice([1_000, DEPTH]))),
        lambda: _image(good, after | {"pk": {"S": LONG_ID}}),
        lambda: _image(good, after | {"status": {"S": LONE_SURROGATE}}),
        lambda: _image(good, after | {"history": _deep(DEPTH)}),
        lambda: _image(good, rng.choice([7, "x", [], [after], True])),
        lambda: _image(good, after | {"queued_at": {"N": "9" * 5_000}}),
        lambda: {**good, "dynamodb": change | {"OldImage": malformed_row(after, n + 1)}},
        lambda: {**good, "dynamodb": rng.choice([7, None, [], "x"])},
        lambda: rng.choice([{}, {"eventName": 7}]),
    )
    return _as_json(kinds[n % len(kinds)]())


def _as_json(value: Any) -> Any:
    """The value with bytes as texts, as Lambda passes them."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {name: _as_json(each) for name, each in value.items()}
    return value


def _image(good: Mapping[str, Any], image: Any) -> Attributes:
    return {**good, "dynamodb": good["dynamodb"] | {"NewImage": image}}


def _deep(levels: int) -> Any:
    value: Any = "deep"
    for _ in range(levels):
        value = [value]
    return value


# --- messages -------------------------------------------------------------------------------------


def malformed_ticket(n: int) -> str:
    """A message number `n` that is no ticket, in a form that SQS accepts."""
    good = json.dumps({"schema": 1, "job_id": "job_" + "0" * 26})
    rng = _rng(n)
    return _text(good, "job_id", rng, n)


def malformed_parked(n: int) -> str:
    """A message number `n` that is no parked step and no parked record."""
    step = {"schema": 1, "step": "count", "job_id": "job_" + "0" * 26, "incarnation": "ff"}
    rng = _rng(n)
    return _text(json.dumps(step), rng.choice([*step]), rng, n)


def _text(good: str, field: str, rng: random.Random, n: int) -> str:
    wrong: Sequence[Any] = (None, 7, True, [], {}, LONE_SURROGATE, LONG_ID, "\x00", "../../etc")
    kinds: Sequence[Callable[[], str]] = (
        lambda: good[: rng.randint(1, len(good) - 1)],
        lambda: "[" * rng.randint(1_000, DEPTH),
        lambda: '{"job_id":' * rng.randint(1_000, 10_000),
        lambda: json.dumps({"job_id": rng.choice(wrong), "step": rng.choice(wrong)}),
        lambda: json.dumps({**json.loads(good), "job_id": rng.choice(wrong)}),
        lambda: json.dumps({field: "x" * rng.randint(1_000, 3_000)}),
        lambda: json.dumps(rng.choice([None, 7, "job", [1], {"schema": 99}])),
        lambda: "9" * 5_000,
        lambda: rng.choice(["NaN", "\ufffd\ufffd", " ", "{}", "<xml/>", "\ufeff{}"]),
        lambda: good.replace("}", ',"x":' + "[" * DEPTH + "]" * DEPTH + "}"),
    )
    return kinds[n % len(kinds)]()
