"""Each error code is declared once, and each error of the service has a declared code."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

import functions.socket_subscribe  # noqa: F401  (declares an error class)
from comfyline.contract.problems import PROBLEMS, ProblemKind
from comfyline.service.errors import ComfylineError, RequestRefused, Unavailable
from comfyline.service.live import close_sockets
from tests.support.documents import ROOT

every_problem = pytest.mark.parametrize("kind", PROBLEMS.values(), ids=PROBLEMS)


def subclasses(kind: type[ComfylineError]) -> Iterator[type[ComfylineError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


def socket_codes() -> set[str]:
    """Codes that the functions write into an `error` message without an exception class."""
    tree = ast.parse((ROOT / "functions" / "socket_subscribe.py").read_text())
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    values = (keyword.value for call in calls for keyword in call.keywords if keyword.arg == "code")
    return {value.value for value in values if isinstance(value, ast.Constant)}


def test_every_error_has_a_declared_code() -> None:
    errors = list(subclasses(ComfylineError))
    assert {error.code for error in errors} <= PROBLEMS.keys()


def test_every_declared_code_is_used() -> None:
    used = {error.code for error in subclasses(ComfylineError)}
    assert PROBLEMS.keys() == used | socket_codes() | {close_sockets.KEY_VOID.code}


@every_problem
def test_a_code_travels_over_http_or_on_the_socket(kind: ProblemKind) -> None:
    assert kind.status is not None or kind.on_socket
    assert kind.on_socket or not kind.closes_socket
    assert kind.title
    assert kind.advice.endswith(".")


def test_statuses_say_who_has_to_act() -> None:
    for error in subclasses(RequestRefused):
        status = PROBLEMS[error.code].status
        assert error.code == "internal_error" or status is None or 400 <= status < 500
    for unavailable in subclasses(Unavailable):
        assert PROBLEMS[unavailable.code].status in (503, None)


def test_the_docstring_is_the_default_message() -> None:
    assert str(Unavailable()) == Unavailable.explanation()
    assert str(Unavailable("GetItem: throttled")) == "GetItem: throttled"
    refused = RequestRefused()
    assert refused.detail == "The request must be changed before it is sent again."


def test_every_error_explains_itself() -> None:
    for error in subclasses(ComfylineError):
        assert error.__doc__ is not None, error
        assert error.explanation().endswith("."), error
