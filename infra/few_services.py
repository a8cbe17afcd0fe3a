"""Botocore's descriptions of services, reduced to what functions need.

To make its first client, botocore looks through the folders of its 400 services and parses the
addresses of all of them. To make any client, it parses the service's description, most of which
is documentation. In an asset, it finds only the services that functions call, with all of their
operations and without documentation. That makes a cold start 30 to 40 ms of CPU shorter.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

# Each with the name under which botocore knows its addresses.
SERVICES = {
    "apigatewaymanagementapi": "execute-api",
    "cloudwatch": "monitoring",
    "dynamodb": "dynamodb",
    "ecs": "ecs",
    "lambda": "lambda",
    "s3": "s3",
    "sqs": "sqs",
}


def keep_few_services(data: Path) -> None:
    """Reduce botocore's folder `data` to SERVICES."""
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)
    for path in data.glob("*/*/service-2.json.gz"):
        text = gzip.decompress(path.read_bytes())
        described = json.loads(text, object_hook=without_documentation)
        _write(path.with_suffix(""), described)
        path.unlink()
    for path in data.glob("*/*/examples-1.json"):
        path.unlink()
    endpoints = data / "endpoints.json"
    addresses = json.loads(endpoints.read_bytes())
    for partition in addresses["partitions"]:
        known = partition["services"]
        partition["services"] = {name: known[name] for name in SERVICES.values() if name in known}
    _write(endpoints, addresses)


def without_documentation(described: dict[str, Any]) -> dict[str, Any]:
    """The same JSON object without its text for people. A member may have the name too."""
    return {
        name: value
        for name, value in described.items()
        if name != "documentation" or not isinstance(value, str)
    }


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, separators=(",", ":")))
