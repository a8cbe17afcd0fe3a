"""What it costs a fresh interpreter to be ready, in CPU seconds, which depend little on others."""

from __future__ import annotations

import os
import subprocess
import sys

from comfyline.settings import Settings

# Which client a function needs, by what its settings name.
_SERVICES = {
    "_table": "dynamodb",
    "_queue_url": "sqs",
    "_bucket": "s3",
    "websocket_api_id": "apigatewaymanagementapi",
    "greeter_function": "lambda",
    "cluster": "ecs",
}
_BARE = """
import boto3
from botocore.config import Config
session = boto3.Session()
for service in {services}:
    session.client(service, config=Config(connect_timeout=1), endpoint_url="https://localhost")
"""
_OURS = """
import functions.{module}
from functions import _wiring
for service in {services}:
    _wiring._client(service, "https://localhost")
"""


def services_of(settings: type[Settings]) -> list[str]:
    """The AWS services that a process with these settings calls."""
    fields = settings.model_fields
    named = {s for end, s in _SERVICES.items() for field in fields if field.endswith(end)}
    return sorted(named)


def over_bare_boto3(module: str, services: list[str], rounds: int) -> float:
    """Import and clients of functions/<module>.py, over boto3 with the same clients.

    The best of some rounds each, taken in turn.
    """
    bare, ours = _BARE.format(services=services), _OURS.format(module=module, services=services)
    pairs = [(_cpu_seconds(bare), _cpu_seconds(ours)) for _ in range(rounds)]
    return min(one for _, one in pairs) / min(one for one, _ in pairs)


def _cpu_seconds(code: str) -> float:
    region = {"AWS_DEFAULT_REGION": "us-east-1"}
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **region})
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, code
    return used.ru_utime + used.ru_stime
