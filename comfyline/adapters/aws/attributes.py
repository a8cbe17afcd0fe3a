"""Times as DynamoDB attributes, in the form that the low-level client uses: {"N": "12.5"}.

A time is milliseconds since the epoch with the microseconds as decimals, so that the value that is
read equals the value that was written.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

Item = Mapping[str, Any]  # {"name": {"S": "value"}}

T = TypeVar("T")

_log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def readable_items(read: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
    """What `read` makes of the items. Those that it fails to read are logged and left out.

    For items that are worth nothing if they cannot be read; a job's row is set aside instead.
    """
    found = []
    for item in items:
        try:
            found.append(read(item))
        except Exception as error:  # noqa: BLE001 a damaged item raises any error
            key = {name: item.get(name) for name in ("pk", "sk")}
            extra = {"action": "item_unreadable", "key": key, "reason": repr(error)[:200]}
            _log.error("item left out", extra=extra)
    return found


def time_of(time: datetime) -> dict[str, str]:
    """`time` as an attribute."""
    return {"N": milliseconds(time - _EPOCH)}


def read_time(attribute: Mapping[str, str]) -> datetime:
    """The time in an attribute."""
    return _EPOCH + timedelta_of(attribute["N"])


def ttl_of(time: datetime) -> dict[str, str]:
    """`time` as a TTL attribute. DynamoDB requires whole seconds since the epoch there."""
    return {"N": str(math.ceil(time.timestamp()))}


def read_ttl(attribute: Mapping[str, str]) -> datetime:
    """The time in a TTL attribute."""
    return datetime.fromtimestamp(int(attribute["N"]), UTC)


def milliseconds(span: timedelta) -> str:
    """`span` as a decimal number, exact to the microsecond."""
    microseconds = span // timedelta(microseconds=1)
    return format(Decimal(microseconds).scaleb(-3).normalize(), "f")


def timedelta_of(milliseconds: str) -> timedelta:
    """The span that `milliseconds` wrote."""
    return timedelta(microseconds=int(Decimal(milliseconds).scaleb(3)))
