"""What every line of the log says about the job that is being worked on, whoever writes it.

Tasks and threads inherit it from the task that has entered it; jobs that overlap do not mix.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_ABOUT: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(**what: str | None) -> Iterator[None]:
    """Lines within the block say this too; what is None they do not say."""
    token = _ABOUT.set({**_ABOUT.get(), **{name: v for name, v in what.items() if v is not None}})
    try:
        yield
    finally:
        _ABOUT.reset(token)


class AboutTheJob(logging.Filter):
    """Lets every line pass and adds what it lacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        for name, value in _ABOUT.get().items():
            record.__dict__.setdefault(name, value)
        return True
