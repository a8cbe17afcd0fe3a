"""Unit tests touch nothing; a fake server of their own process is the farthest they reach."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/unit/" in item.path.as_posix():
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1"]))
