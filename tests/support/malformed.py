"""Malformed items, made from good ones with a fixed seed: a failing test fails again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

Attributes = dict[str, Any]  # of an item of DynamoDB

SEED = 20_261_129
# The tables' keys and the keys of the indexes: DynamoDB guarantees that these have the right type.
_KEYS = ("pk", "sk", "due_shard", "due_at", "owner", "status", "listed_at")


def malformed_row(good: Mapping[str, Any], n: int) -> Attributes:
    """The row `good` with damage number `n`, in a form that the jobs table accepts."""
    rng = random.Random(f"{SEED} {n}")
    return _DAMAGE[n % len(_DAMAGE)]({**good}, rng)


def _future_schema(row: Attributes, rng: random.Random) -> Attributes:
    return row | {"schema": {"N": str(rng.randint(3, 10**6))}}


def _missing(row: Attributes, rng: random.Random) -> Attributes:
    del row[rng.choice(["schema", "version", "priority", "queued_at", "fingerprint", "retention"])]
    return row


def _truncated(row: Attributes, rng: random.Random) -> Attributes:
    return {name: value for name, value in row.items() if name in _KEYS}


def _wrong_type(row: Attributes, rng: random.Random) -> Attributes:
    wrong = rng.choice([{"L": []}, {"NULL": True}, {"B": b"\xff\x00"}, {"M": {"S": {"S": "x"}}}])
    return row | {rng.choice(["schema", "version", "queued_at", "priority"]): wrong}


def _nested(row: Attributes, rng: random.Random) -> Attributes:
    value: Attributes = {"S": "deep"}
    for _ in range(30):  # DynamoDB allows 32 levels
        value = {"L": [value]}
    return row | {rng.choice(["history", "schema", "options"]): value}


def _wrong_size(row: Attributes, rng: random.Random) -> Attributes:
    name = rng.choice(["queued_at", "version", "start_deadline", "retention"])
    return row | {name: {"N": rng.choice(["1E+100", "-1E+100", "99999999999999999999"])}}


def _unknown_value(row: Attributes, rng: random.Random) -> Attributes:
    return row | {"status": {"S": rng.choice(["", "no", "x" * 900]) or "none"}}


def _large(row: Attributes, rng: random.Random) -> Attributes:
    return row | {"history": {"L": [{"S": "x" * 300_000}]}}


def _ended_without_time(row: Attributes, rng: random.Random) -> Attributes:
    return row | {"status": {"S": "succeeded"}}


_DAMAGE: tuple[Callable[[Attributes, random.Random], Attributes], ...] = (
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


def malformed_ticket(n: int) -> str:
    """A message number `n` that is no ticket, in a form that SQS accepts."""
    rng = random.Random(f"{SEED} {n}")
    good = json.dumps({"schema": 1, "job_id": "job_" + "0" * 26})
    kinds = [
        good[: rng.randint(1, len(good) - 1)],
        "[" * rng.randint(1_000, 100_000),
        '{"job_id":' * rng.randint(1_000, 10_000),
        json.dumps({"job_id": "x" * rng.randint(1_000, 3_000)}),
        json.dumps(
            {"job_id": rng.choice([None, 7, True, [], {}, "", "job_", "\ud800", "../../etc"])}
        ),
        json.dumps(rng.choice([None, 7, "job", [1], {"schema": 99}])),
        "9" * 5_000,
        rng.choice(["NaN", "\ufffd\ufffd", " ", "{}", "<xml/>"]),
    ]
    return kinds[n % len(kinds)]
