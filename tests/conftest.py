"""Settings of every tier: no variable of the developer's environment reaches a test."""

from __future__ import annotations

import os

import hypothesis
import pytest

pytest_plugins = ["tests.support.budgets"]

SCRUBBED = ("AWS_", "COMFYLINE_", "COMFYUI_", "POWERTOOLS_")
for name in [name for name in os.environ if name.startswith(SCRUBBED)]:
    del os.environ[name]
os.environ["COMFYLINE_CONFIG"] = os.devnull  # no profile of the developer either
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"  # no SDK looks for an instance's role

# On a busy machine an example may take any time; the budget of the tier bounds them all.
hypothesis.settings.register_profile("comfyline", deadline=None)
hypothesis.settings.load_profile("comfyline")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("comfyline")
    group.addoption(
        "--target",
        choices=["local", "localstack", "aws"],
        default="local",
        help="where tests/e2e runs: a new local cloud, or a deployment that already runs elsewhere",
    )
    group.addoption(
        "--endpoints", metavar="FILE", help="endpoints.json of a deployment that already runs"
    )
    group.addoption(
        "--long",
        action="store_true",
        help="full sizes: whole crowds, every permission, 3,000 fuzzed requests (make test-long)",
    )
    group.addoption(
        "--mutations",
        metavar="REGEX",
        help="take away each permission that matches, like 'SubmitJob.AddJob' (default: a sample)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: has a full size, with --long; given by `is_long`")


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that have a full size: those that ask `is_long`, also by way of a fixture."""
    for item in items:
        if "is_long" in getattr(item, "fixturenames", ()):
            item.add_marker("long")


@pytest.fixture(scope="session")
def is_long(pytestconfig: pytest.Config) -> bool:
    """Whether tests run at their full size."""
    return bool(pytestconfig.getoption("--long"))
