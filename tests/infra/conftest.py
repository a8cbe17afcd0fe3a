from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from infra.app import add_stacks, new_app
from infra.declarations import CONSOLE_FOLDER
from infra.deployment import Deployment
from infra.deployment_file import parse_deployment, read_deployment
from infra.functions import FUNCTIONS
from tests.infra.templates import Templates

KEY_ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
# A deployment file with every choice that is not the default.
UNUSUAL: Mapping[str, Any] = {
    "stage": "prod",
    "tags": {"cost-center": "42"},
    "iam": {
        "permissions_boundary": "arn:aws:iam::123456789012:policy/boundary",
        "role_prefix": "team-",
    },
    "encryption": {
        "key_arn": "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    },
    "functions": {
        "architecture": "x86_64",
        "call_log": True,
        "wake_scaler": False,
        "snap_start": True,
        "concurrency": 1000,
        "s3_public_endpoint": "http://files.example",
    },
    "api": {
        "requests_per_second": 50,
        "max_waits": 0,
        "access_log": False,
        "allowed_origins": ["https://app.example.com"],
        "domain": "api.example.com",
        "socket_domain": "live.example.com",
        "certificate_arn": "arn:aws:acm:eu-west-1:123456789012:certificate/0",
        "public_url": "https://comfy.example.com/team",
    },
    "worker": {
        "image": "registry.example/worker:1",
        "models_bucket": "team-models",
        "progress_seconds": 60,
    },
    "fleet": {
        "capacity": "asg",
        "zones": ["eu-west-1a", "eu-west-1c"],
        "ami_id": "ami-0123456789abcdef0",
        "restore_mib_a_second": 300,
        "warm_pool": 2,
    },
    "network": {"cidr": "10.20.0.0/20"},
    "scaling": {
        "ondemand_workers": 3,
        "warm_workers": 2,
        "warm_hours": "mon-fri 07-18",
    },
    "alarms": {"email": "team@example.com"},
    "observability": {
        "container_insights": True,
        "metrics": False,
        "tracing": True,
        "log_days": 365,
    },
}

# A deployment file with an edge, which replaces some of the choices above.
EDGE: Mapping[str, Any] = {
    "edge": {
        "domain": "comfy.example.com",
        "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/0",
        "secret_version": 4,
        "web_acl": True,
    },
    "encryption": {"key_arn": KEY_ARN},
    "functions": {"concurrency": 1000},
    "sign_in": {
        "issuer": "https://id.example.com/tenant",
        "client_id": "console",
        "default_scopes": "jobs",
    },
}


def without_web_acl(**changed: Any) -> dict[str, Any]:
    """The deployment file of EDGE without its web ACL, and with these keys of its section."""
    return {**EDGE, "edge": {**EDGE["edge"], "web_acl": False, **changed}}


def deployment(**table: Any) -> Deployment:
    """The deployment of a file with these keys and sections."""
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/worker:1"
    return parse_deployment({"stage": "test", "worker": {"image": image}, **table}, "test.toml")


def declared(folder: Path, chosen: Deployment) -> App:
    """The app of a deployment. Its code assets are stand-ins, on which no template depends."""
    assets = {}
    for number, own in enumerate(dict.fromkeys(row.folder for row in FUNCTIONS.values())):
        assets[own] = code = folder / f"{number:064}"
        code.mkdir(exist_ok=True)
        (code / "handler.py").touch()
        if own == CONSOLE_FOLDER:
            console = code / own
            console.mkdir(parents=True, exist_ok=True)
            (console / "index.html").write_text("<!doctype html>")
            (console / "index-0a1b2c.js").touch()
    app = new_app(str(folder / "out"))
    add_stacks(app, chosen, assets)
    return app


def synthesise(folder: Path, chosen: Deployment) -> Templates:
    """The templates of a deployment."""
    declared(folder, chosen).synth()
    return Templates.read(folder / "out", chosen.cluster_name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep this tier in one process, because each process synthesises every template anew."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("infra"))


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """The templates for AWS, of a deployment file that names an image only."""
    return synthesise(tmp_path_factory.mktemp("aws"), deployment())


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """The templates for the emulator."""
    file = read_deployment(Path("deployments/local.toml"))
    return synthesise(tmp_path_factory.mktemp("local"), file)


@pytest.fixture(scope="session")
def asg(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """The templates for AWS, of a deployment file in which no choice is the default."""
    return synthesise(tmp_path_factory.mktemp("asg"), deployment(**UNUSUAL))


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """The templates of a deployment with an edge and its web ACL."""
    return synthesise(tmp_path_factory.mktemp("edge"), deployment(**EDGE))


@pytest.fixture(scope="session")
def optional_edge(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """The templates of a deployment with an edge that is not required, and no web ACL."""
    chosen = deployment(**without_web_acl(required=False))
    return synthesise(tmp_path_factory.mktemp("optional-edge"), chosen)


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """The templates for AWS, of the deployment file that the CDK uses by default."""
    file = read_deployment(Path("deployments/dev.toml"))
    return synthesise(tmp_path_factory.mktemp("dev"), file)
