from __future__ import annotations

from pathlib import Path

import pytest

from infra.app import add_stacks, new_app
from infra.assets import CodeAsset
from infra.deployment import Deployment, Target
from tests.infra.templates import Templates


def synthesise(target: Target, folder: Path) -> Templates:
    """The templates of a target. Their code asset is a stand-in: no template depends on it."""
    context = {
        "env": "test",
        "target": target.value,
        "default_checkpoint": "some.safetensors",
        "worker_image": "registry.example/worker:1",
    }
    code = folder / "code"
    code.mkdir()
    (code / "handler.py").touch()
    app = new_app(str(folder / "out"))
    add_stacks(app, Deployment.from_context(context.get), CodeAsset(code, "0" * 64))
    app.synth()
    return Templates.read(folder / "out", "comfyline-test")


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """What is deployed to AWS."""
    return synthesise(Target.AWS, tmp_path_factory.mktemp("aws"))


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """What is deployed to an emulator."""
    return synthesise(Target.LOCAL, tmp_path_factory.mktemp("local"))
