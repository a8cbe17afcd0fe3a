"""Add the ids of the current job to every log line, whichever module writes the line.

Tasks and threads inherit the context of the task that started them, so the lines of jobs that
overlap do not mix.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_FIELDS: ContextVar[Mapping[str, str]] = ContextVar("fields", default=MappingProxyType({}))


@contextmanager
def log_context(**fields: str | None) -> Iterator[None]:
    """Log lines written during the block carry these fields, except those that are None."""
    known = {name: value for name, value in fields.items() if value is not None}
    token = _FIELDS.set({**_FIELDS.get(), **known})
    try:
        yield
    finally:
        _FIELDS.reset(token)


class LogContextFilter(logging.Filter):
    """Lets every line pass and adds the context's fields that the line does not set itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        for name, value in _FIELDS.get().items():
            record.__dict__.setdefault(name, value)
        return True
