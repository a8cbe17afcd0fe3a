"""Put work in an order in which every owner gets a turn, however much one owner has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

T = TypeVar("T")


def in_turns(items: Iterable[T], owner_of: Callable[[T], Hashable]) -> list[T]:
    """The first item of each owner, then the second of each, and so on.

    The items of one owner keep their order, and so do those of one turn.
    """
    taken = Counter[Hashable]()
    turns: dict[int, list[T]] = {}
    for item in items:
        owner = owner_of(item)
        turns.setdefault(taken[owner], []).append(item)
        taken[owner] += 1
    return [item for turn in turns.values() for item in turn]
