"""An instance of the warm pool fetches its models before it is stopped, and never again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from gpu_worker.fetch_models import main
from gpu_worker.models import folder
from gpu_worker.models.download import ModelsUnusable

BODY = b"weights" * 1000
LOCK = f"""
default_checkpoint = "a.safetensors"

[comfyui]
repository = "https://github.com/comfyanonymous/ComfyUI"
commit = "{0:040}"

[[models]]
path = "checkpoints/a.safetensors"
sha256 = "{hashlib.sha256(BODY).hexdigest()}"
bytes = {len(BODY)}
"""


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "engine.lock.toml").write_text(LOCK)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "ENGINE_LOCK": str(tmp_path / "engine.lock.toml"),
        "MODELS_BUCKET": "models",
        "MODELS_DIRECTORY": str(tmp_path / "models"),
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        yield client


def test_models_that_were_fetched_before_the_stop_are_there_after_it(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket="models", Key="models/checkpoints/a.safetensors", Body=BODY)
    main()
    assert (tmp_path / "models" / "checkpoints" / "a.safetensors").read_bytes() == BODY
    # The instance is stopped and started again. Neither a fetch nor a hash of gigabytes is needed.
    s3.delete_object(Bucket="models", Key="models/checkpoints/a.safetensors")
    another_boot = tmp_path / "boot_id"
    another_boot.write_text("another\n")
    monkeypatch.setattr(folder, "_BOOT_ID", another_boot)
    monkeypatch.setattr(folder.hashlib, "file_digest", None)
    main()


def test_a_model_that_is_missing_is_named(s3: Any) -> None:
    with pytest.raises(ModelsUnusable, match=r"checkpoints/a\.safetensors"):
        main()
