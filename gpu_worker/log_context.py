"""Add the ids of the current job to every log line, whichever module writes the line.

Tasks and threads inherit the context of the task that started them, so the lines of jobs that
overlap do not mix.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

_FIELDS: ContextVar[Mapping[str, str]] = ContextVar("fields", default=MappingProxyType({}))


def log_with(**fields: str | None) -> None:
    """From now on, log lines of this task carry these fields, except those that are None."""
    known = {name: value for name, value in fields.items() if value is not None}
    _FIELDS.set({**_FIELDS.get(), **known})


class LogContextFormatter(LambdaPowertoolsFormatter):
    """Adds the context's fields to each line. A field that the line itself sets wins.

    They are added last, because Powertools sets `xray_trace_id` to that of a Lambda function.
    """

    def serialize(self, log: Any) -> str:
        """The line as JSON."""
        return super().serialize({**_FIELDS.get(), **log})
