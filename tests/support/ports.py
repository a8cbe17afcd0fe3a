"""Wrap a port (an interface such as JobStore) so that a test can interfere with its calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

P = TypeVar("P")


def wrapped(port: P, around: Callable[..., Any]) -> P:
    """The same port. Each call of a method becomes `around(name, method, *args, **kwargs)`.

    `around` may call the method or not, and return or raise anything.
    """
    return cast("P", _Wrapped(port, around))


def meanwhile(port: P, method: str, action: Callable[[], object], *, times: int = 1) -> P:
    """The same port, where `action` runs just before each of the first `times` calls of `method`.

    The action is what another process does at the worst moment, or it raises an error that the call
    then ends with.
    """
    left = times

    def around(name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal left
        if name == method and left > 0:
            left -= 1
            action()
        return call(*args, **kwargs)

    return wrapped(port, around)


def raising(error: Exception) -> Callable[[], object]:
    """An action that raises `error`."""

    def fail() -> None:
        raise error

    return fail


class _Wrapped:
    def __init__(self, port: Any, around: Callable[..., Any]) -> None:
        self._port, self._around = port, around

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        return partial(self._around, name, attribute) if callable(attribute) else attribute
