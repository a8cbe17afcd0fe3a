"""The table of functions: its handlers exist, its routes are documented, its grants are tested."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from comfyline.contract.comfy_v2.operations import OPERATIONS as COMFY
from comfyline.contract.v1.openapi import OPERATIONS
from infra import ROOT
from infra.functions import FUNCTIONS, ROUTES
from tests.e2e.smokes import SMOKES


@pytest.mark.parametrize("name", FUNCTIONS)
def test_handler_exists(name: str) -> None:
    row = FUNCTIONS[name]
    _, _, attribute = row.handler.partition(".")
    module = importlib.import_module(f"functions.{row.module}")
    assert callable(getattr(module, attribute))


def test_every_module_of_handlers_has_a_row() -> None:
    modules = {path.stem for path in Path(ROOT, "functions").glob("[!_]*.py")}
    assert {row.module for row in FUNCTIONS.values()} == modules


def test_routes_are_the_operations_of_the_contract() -> None:
    routes = {(route.method, route.path): route.is_open for route in ROUTES}
    documented = {key: operation.is_open for key, operation in OPERATIONS.items()}
    # The console and what it signs in with are for people; nothing else may depend on them.
    pages = {(m, path): True for path in ("/console", "/console/{file}") for m in ("GET", "HEAD")}
    sessions = {(r.method, r.path): r.is_open for r in FUNCTIONS["Sessions"].routes}
    assert routes == {**documented, **dict.fromkeys(COMFY, False), **pages, **sessions}


def test_no_route_is_declared_twice() -> None:
    keys = [route.key for row in FUNCTIONS.values() for route in row.routes]
    assert len(keys) == len(set(keys)) == len(ROUTES)
    socket_keys = [key for row in FUNCTIONS.values() for key in row.socket_routes]
    assert len(socket_keys) == len(set(socket_keys))


def test_every_function_with_grants_has_a_smoke_run() -> None:
    """tests/e2e removes each grant in turn and expects the run of its function to fail."""
    assert set(SMOKES) == {*(name for name, row in FUNCTIONS.items() if row.grants), "Worker"}
