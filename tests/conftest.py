"""Nothing of the developer's own environment reaches a test."""

from __future__ import annotations

import os

import pytest

SCRUBBED = ("AWS_", "COMFYLINE_", "COMFYUI_", "POWERTOOLS_")
for name in [name for name in os.environ if name.startswith(SCRUBBED)]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"  # no SDK looks for an instance's role


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("comfyline")
    group.addoption(
        "--target",
        choices=["local", "localstack", "aws"],
        default="local",
        help="where tests/e2e runs: a cloud of its own on this machine, or what is up elsewhere",
    )
    group.addoption(
        "--endpoints", metavar="FILE", help="endpoints.json of a deployment that is up already"
    )
    group.addoption(
        "--fuzz-examples",
        type=int,
        default=1,
        help="how many requests tests/e2e/test_fuzz.py draws for each operation, besides its own",
    )
    group.addoption(
        "--fuzz-requests",
        type=int,
        default=800,
        help="how many requests tests/e2e/test_fuzz.py must have sent, of all kinds",
    )
    group.addoption(
        "--crowd",
        choices=["small", "full"],
        default="small",
        help="how many clients tests/e2e/test_live.py sends at once: a tenth, or all",
    )
    group.addoption(
        "--mutations",
        metavar="REGEX",
        help="take away each permission that matches, like 'SubmitJob.AddJob'; default: a sample",
    )
