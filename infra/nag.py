"""Runs cdk-nag. infra/findings.py has the reasons why its findings may stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks, ServerlessChecks

from infra.findings import Finding

REPORT = "validation-report.json"


def findings(app: App) -> list[Finding]:
    """Synthesise the app with the packs AwsSolutions and Serverless, and return their findings."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    with suppress(RuntimeError):  # raised after the report is written, if there are findings
        app.synth()
    return list(_reported(Path(app.outdir, REPORT)))


def _reported(report: Path) -> Iterator[Finding]:
    for plugin in json.loads(report.read_text())["pluginReports"]:
        for violation in plugin["violations"]:
            for construct in violation["violatingConstructs"]:
                yield Finding(violation["ruleName"], construct["constructPath"])
