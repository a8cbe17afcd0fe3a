"""The code asset. Only the last test installs the wheels, which come from the network."""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from pathlib import Path

import pytest

from functions._methods import FILE
from infra import ROOT, console
from infra.assets import (
    LEFT_OUT,
    LOCK,
    PRUNED,
    code_asset,
    has_bytecode,
    locked_requirements,
    python_for_bytecode,
)
from infra.declarations import CONSOLE_FOLDER
from infra.deployment import Deployment
from tests.infra.conftest import deployment
from tests.infra.templates import Templates

LOCAL_LOCK = ROOT / "localcloud" / "engine.lock.toml"


def local(lock: str = "localcloud/engine.lock.toml") -> Deployment:
    return deployment(target="local", worker={"image": "worker", "lock": lock})


@pytest.fixture(scope="module")
def local_asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return code_asset(local(), cache=tmp_path_factory.mktemp("cache"))


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
    again = code_asset(local(), cache=tmp_path)
    assert again.name == local_asset.name
    assert files_of(again) == files_of(local_asset)


def test_an_existing_asset_is_not_built_again(local_asset: Path) -> None:
    marker = local_asset / "functions" / "__init__.py"
    before = marker.stat().st_mtime_ns
    assert code_asset(local(), cache=local_asset.parent) == local_asset
    assert marker.stat().st_mtime_ns == before


def test_requirements_are_locked_and_few() -> None:
    text = locked_requirements()
    names = set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))
    assert {"aws-lambda-powertools", "botocore", "pydantic", "pydantic-core"} <= names
    assert not names & {*PRUNED, "boto3", "comfyline"}
    assert text.count("--hash=sha256:") >= len(names)


def test_another_engine_lock_gives_another_asset(local_asset: Path, tmp_path: Path) -> None:
    lock = tmp_path / "team.toml"
    lock.write_text(LOCAL_LOCK.read_text() + "\n# ours\n")
    asset = code_asset(local(lock=str(lock)), cache=tmp_path / "cache")
    assert asset.name != local_asset.name
    assert (asset / LOCK).read_text() == lock.read_text()


def zipped(folder: Path) -> int:
    """The size of a folder's zip file, in bytes."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files_of(folder):
            archive.write(folder / name, name)
    return len(body.getvalue())


def test_only_the_function_that_serves_a_folder_has_it(local_asset: Path, tmp_path: Path) -> None:
    own = code_asset(local(), "functions/_viewer", cache=tmp_path)
    added = files_of(own) - files_of(local_asset)
    assert added == {
        str(path.relative_to(ROOT)) for path in (ROOT / "functions" / "_viewer").iterdir()
    }
    assert files_of(local_asset) < files_of(own)
    assert zipped(local_asset) < 0.45 * 2**20  # sources of 0.41 MiB; swagger-ui alone has 0.5 MiB


def test_each_function_gets_the_asset_with_its_folder(aws: Templates) -> None:
    keys = {name: of["Code"]["S3Key"] for name, of in aws.functions().items()}
    own = {keys.pop("ShowDocs"), keys.pop("ShowConsole")}
    assert len(own) == 2
    assert len(set(keys.values())) == 1
    assert not own & {*keys.values()}


def test_the_function_of_the_console_has_the_built_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "CACHE", tmp_path / "consoles")
    assert console.built() is None
    without = code_asset(local(), CONSOLE_FOLDER, cache=tmp_path)
    built = tmp_path / "consoles" / console._digest()
    built.mkdir(parents=True)
    (built / "index.html").write_text("<!doctype html>")
    assert console.built() == built
    asset = code_asset(local(), CONSOLE_FOLDER, cache=tmp_path)
    assert files_of(asset) - files_of(without) == {f"{CONSOLE_FOLDER}/index.html"}


def test_lambdas_user_may_read_everything_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        asset = code_asset(local(), cache=tmp_path)
    finally:
        os.umask(before)
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in asset.rglob("*")}
    assert modes == {(True, 0o755), (False, 0o644)}
    assert stat.S_IMODE(asset.stat().st_mode) == 0o755


def test_a_deployment_without_bytecode_says_so(aws: Templates) -> None:
    # The stand-in that the templates are made with holds no bytecode.
    assert any("Python 3.13" in warning for warning in aws.warnings)


@pytest.fixture(scope="module")
def aws_asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return code_asset(deployment(), cache=tmp_path_factory.mktemp("aws"))


def test_the_zip_is_small(aws_asset: Path) -> None:
    assert any(name.endswith(".so") and "aarch64" in name for name in files_of(aws_asset))
    assert zipped(aws_asset) < 15 * 2**20


def test_every_module_has_bytecode_for_the_functions_python(aws_asset: Path) -> None:
    if python_for_bytecode() is None:
        assert not has_bytecode(aws_asset)
        pytest.skip("this machine has no Python 3.13")
    found = files_of(aws_asset)
    for module in (path for path in found if path.endswith(".py")):
        folder, _, name = module.rpartition("/")
        cached = f"__pycache__/{name.removesuffix('.py')}.cpython-313.pyc"
        compiled = f"{folder}/{cached}" if folder else cached
        assert compiled in found
    assert f"functions/{FILE.name}" in found
    body = (aws_asset / "functions" / "__pycache__" / "get_job.cpython-313.pyc").read_bytes()
    # The bytecode is marked as unchecked, because the zip file changes the time of the source.
    assert int.from_bytes(body[4:8], "little") == 0b01
