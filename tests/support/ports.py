"""A port (an interface of the service, such as JobStore) whose calls a test interferes with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

P = TypeVar("P")


def wrapped(port: P, around: Callable[..., Any]) -> P:
    """The same port. Each call of a method becomes `around(name, method, *args, **kwargs)`.

    `around` decides whether it calls the method and what it returns or raises.
    """
    return cast("P", _Wrapped(port, around))


class _Wrapped:
    def __init__(self, port: Any, around: Callable[..., Any]) -> None:
        self._port, self._around = port, around

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        return partial(self._around, name, attribute) if callable(attribute) else attribute
