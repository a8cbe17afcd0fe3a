from __future__ import annotations

from pathlib import Path

import pytest
from aws_cdk import App

from infra.app import add_stacks, new_app
from infra.assets import CodeAsset
from infra.deployment import Deployment, Target
from tests.infra.templates import Templates

UNUSUAL = {
    "env": "prod",
    "capacity": "asg",
    "api_domain": "api.example.com",
    "socket_domain": "live.example.com",
    "certificate_arn": "arn:aws:acm:eu-west-1:123456789012:certificate/0",
    "allowed_origins": "https://app.example.com",
    "worker_image": "registry.example/worker:1",
    "architecture": "x86_64",
    "models_bucket": "team-models",
    "spot_percent": "50",
    "warm_workers": "2",
    "warm_hours": "mon-fri 07-18",
    "alarm_email": "team@example.com",
    "container_insights": "true",
    "metrics": "false",
    "metrics_port": "9400",
    "metrics_from": "sg-0123456789abcdef0",
    "tracing": "false",
}


def declared(target: Target, folder: Path, **context: str) -> App:
    """The app of a target. Its code asset is a stand-in: no template depends on it."""
    context = {
        "env": "test",
        "target": target.value,
        "worker_image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/worker:1",
        **context,
    }
    code = folder / "code"
    code.mkdir(exist_ok=True)
    (code / "handler.py").touch()
    app = new_app(str(folder / "out"))
    add_stacks(app, Deployment.from_context(context.get), CodeAsset(code, "0" * 64))
    return app


def synthesise(target: Target, folder: Path, **context: str) -> Templates:
    """The templates of a target."""
    declared(target, folder, **context).synth()
    return Templates.read(folder / "out", f"comfyline-{context.get('env', 'test')}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep this tier in one process, because each process synthesises every template anew."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("infra"))


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """What is deployed to AWS."""
    return synthesise(Target.AWS, tmp_path_factory.mktemp("aws"))


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """What is deployed to an emulator."""
    return synthesise(Target.LOCAL, tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="session")
def asg(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """What is deployed to AWS with every choice that is not the usual one."""
    return synthesise(Target.AWS, tmp_path_factory.mktemp("asg"), **UNUSUAL)


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """What is deployed to AWS to be thrown away."""
    return synthesise(Target.AWS, tmp_path_factory.mktemp("dev"), env="dev")
