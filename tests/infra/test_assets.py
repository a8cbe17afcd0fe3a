"""The code asset. Only the last test installs the wheels, which come from the network."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest

from infra.assets import (
    LEFT_OUT,
    LOCK,
    PRUNED,
    ROOT,
    code_asset,
    locked_requirements,
)
from infra.deployment import Deployment
from tests.infra.conftest import deployment

LOCAL_LOCK = ROOT / "localcloud" / "engine.lock.toml"


def local(lock: str = "localcloud/engine.lock.toml") -> Deployment:
    return deployment(target="local", worker={"image": "worker", "lock": lock})


@pytest.fixture(scope="module")
def local_asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return code_asset(local(), tmp_path_factory.mktemp("cache"))


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_holds_only_the_sources_of_the_functions(local_asset: Path) -> None:
    found = files_of(local_asset)
    assert {"comfyline/service/settings.py", "functions/submit_job.py"} <= found
    assert {Path(name).parts[0] for name in found} == {"comfyline", "functions", "gpu_worker"}
    assert {name for name in found if name.startswith("gpu_worker")} == {LOCK}
    assert not [name for name in found if name.startswith(LEFT_OUT) or "__pycache__" in name]


def test_its_files_equal_the_sources(local_asset: Path) -> None:
    for name in files_of(local_asset):
        source = LOCAL_LOCK if name == LOCK else ROOT / name
        assert (local_asset / name).read_bytes() == source.read_bytes()


def test_the_same_sources_give_the_same_asset(local_asset: Path, tmp_path: Path) -> None:
    again = code_asset(local(), tmp_path)
    assert again.name == local_asset.name
    assert files_of(again) == files_of(local_asset)


def test_an_existing_asset_is_not_built_again(local_asset: Path) -> None:
    marker = local_asset / "functions" / "__init__.py"
    before = marker.stat().st_mtime_ns
    assert code_asset(local(), local_asset.parent) == local_asset
    assert marker.stat().st_mtime_ns == before


def test_requirements_are_locked_and_few() -> None:
    text = locked_requirements()
    names = set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))
    assert {"aws-lambda-powertools", "pydantic", "pydantic-core"} <= names
    assert not names & {*PRUNED, "botocore", "comfyline"}
    assert text.count("--hash=sha256:") >= len(names)


def test_another_engine_lock_gives_another_asset(local_asset: Path, tmp_path: Path) -> None:
    lock = tmp_path / "team.toml"
    lock.write_text(LOCAL_LOCK.read_text() + "\n# ours\n")
    asset = code_asset(local(lock=str(lock)), tmp_path / "cache")
    assert asset.name != local_asset.name
    assert (asset / LOCK).read_text() == lock.read_text()


def test_the_zip_is_small(tmp_path: Path) -> None:
    asset = code_asset(deployment(), tmp_path)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files_of(asset):
            archive.write(asset / name, name)
    assert any(name.endswith(".so") and "aarch64" in name for name in files_of(asset))
    assert len(body.getvalue()) < 15 * 2**20
