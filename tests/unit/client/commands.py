"""Runs the command line against a scripted service."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from comfyline.client import cli
from tests.unit.client.fakes import Service


def run(service: Service, *args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, args, obj=service.client(), input=stdin)


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def sent(service: Service) -> Any:
    return json.loads(service.requests[0].content)
