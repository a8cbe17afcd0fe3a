"""The two published wheels: the client, and the operator's commands."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest

from infra import ROOT

CLIENT, OPERATOR = ROOT, ROOT / "packaging" / "operator"
IMPORT_ALL = """
import importlib, pkgutil, sys, comfyline
for module in pkgutil.walk_packages(comfyline.__path__, "comfyline."):
    importlib.import_module(module.name)
print(*comfyline.__path__, *sys.modules)
"""


def build(project: Path, folder: Path) -> zipfile.ZipFile:
    """The wheel that uv builds from the project's source distribution, without network."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else "uv"
    options = ("--quiet", "--offline", "--no-build-isolation", "--python", sys.executable)
    subprocess.run([uv, "build", *options, "--out-dir", folder, project], check=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with build(CLIENT, tmp_path_factory.mktemp("client")) as wheel:
        yield wheel


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with build(OPERATOR, tmp_path_factory.mktemp("operator")) as wheel:
        yield wheel


def sources(*packages: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / "comfyline" / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def files(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = (path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


def run_from(folder: Path, code: str, *arguments: str) -> str:
    """Run the code with `comfyline` imported from the folder, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def test_the_wheel_for_clients_holds_the_client_and_the_contract_only(
    client: zipfile.ZipFile,
) -> None:
    expected = sources("client", "contract")
    assert files(client) == expected | {"comfyline/__init__.py", "comfyline/py.typed"}


def test_the_wheel_for_operators_holds_the_commands_and_what_they_use(
    operator: zipfile.ZipFile,
) -> None:
    expected = sources("operate", "service", "adapters/aws") | {"comfyline/adapters/__init__.py"}
    assert files(operator) == expected - {"comfyline/adapters/aws/metrics.py"}


def test_no_file_is_in_both_wheels(client: zipfile.ZipFile, operator: zipfile.ZipFile) -> None:
    assert files(client).isdisjoint(files(operator))


def test_the_wheel_for_operators_needs_the_client_of_the_same_version(
    client: zipfile.ZipFile, operator: zipfile.ZipFile
) -> None:
    ours, theirs = (Parser().parsestr(metadata(wheel, "METADATA")) for wheel in (operator, client))
    assert ours["Version"] == theirs["Version"]
    assert f"comfyline=={theirs['Version']}" in ours.get_all("Requires-Dist", [])


def test_both_wheels_hold_the_licence(client: zipfile.ZipFile, operator: zipfile.ZipFile) -> None:
    text = (ROOT / "LICENSE").read_text()
    assert metadata(client, "licenses/LICENSE") == metadata(operator, "licenses/LICENSE") == text


def test_every_module_of_the_wheel_for_clients_imports(
    client: zipfile.ZipFile, tmp_path: Path
) -> None:
    client.extractall(tmp_path)
    folder, *modules = run_from(tmp_path, IMPORT_ALL).split()
    assert folder == str(tmp_path / "comfyline")
    assert {"boto3", "aws_lambda_powertools"}.isdisjoint(modules)


def test_every_module_of_the_two_wheels_imports(
    client: zipfile.ZipFile, operator: zipfile.ZipFile, tmp_path: Path
) -> None:
    client.extractall(tmp_path)
    operator.extractall(tmp_path)
    folder, *modules = run_from(tmp_path, IMPORT_ALL).split()
    assert folder == str(tmp_path / "comfyline")
    assert {"comfyline.operate.admin", "boto3"} <= set(modules)
    others = {"aiohttp", "aws_lambda_powertools", "PIL", "prometheus_client"}
    assert others.isdisjoint(modules)


@pytest.mark.parametrize("name", ["keys", "admin", "lock"])
def test_the_two_wheels_together_have_the_commands_for_operators(
    client: zipfile.ZipFile, operator: zipfile.ZipFile, tmp_path: Path, name: str
) -> None:
    assert "comfyline.commands" not in metadata(client, "entry_points.txt")
    client.extractall(tmp_path)
    operator.extractall(tmp_path)
    code = "from comfyline.client.cli import app; app()"
    assert "Not available" not in run_from(tmp_path, code, name, "--help")
