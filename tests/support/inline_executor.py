"""An executor without threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class InlineExecutor(Executor):
    """Runs each task at once in the caller's thread, so that a test's order of calls is fixed."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The finished task. An error that is no `Exception`, such as a crash, is raised here."""
        task: Future[Any] = Future()
        try:
            task.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 the task holds it
            task.set_exception(error)
        return task
