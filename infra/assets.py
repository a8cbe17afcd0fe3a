"""The code assets of the functions: one that they share, and one with the files of /docs.

On AWS an asset holds the sources and the locked wheels for the functions' platform, both compiled
by a Python 3.13 if this machine has one. Of botocore's services it holds only those that functions
call. For the emulator of `target = "local"`, which runs handlers in its own interpreter, it holds
the sources only. uv builds it, without Docker. Its name is a hash of its inputs, so that the same
sources and locks give the same asset on every machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from infra import ROOT, compiled_methods, console
from infra.declarations import CONSOLE_FOLDER
from infra.deployment import Deployment
from infra.few_services import SERVICES, keep_few_services
from infra.functions import FUNCTIONS

PACKAGES = ("comfyline", "functions")
# Packages that only clients, operators or tests import.
LEFT_OUT = ("comfyline/adapters/memory", "comfyline/client", "comfyline/operate")
LOCK = "gpu_worker/engine.lock.toml"  # where the functions look for the lock
PRUNED = ("httpx", "rich", "typer", "websockets")  # packages of the client
# What uv.lock is asked for to get the packages of the asset.
FUNCTION_PACKAGES = (
    *("--extra", "lambda"),
    *(option for name in PRUNED for option in ("--prune", name)),
)
PLATFORMS = {"arm64": "aarch64-manylinux2014", "x86_64": "x86_64-manylinux2014"}
PYTHON = "3.13"  # of the functions
CACHE = ROOT / ".cache" / "function-code"
# The umask of the user that builds the asset may exclude the user that Lambda runs as.
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755


def code_assets(deployment: Deployment, cache: Path = CACHE) -> Mapping[str, Path]:
    """The asset for each value of `Function.folder`; `cache` keeps them."""
    folders = dict.fromkeys(row.folder for row in FUNCTIONS.values())
    return {folder: code_asset(deployment, folder, cache=cache) for folder in folders}


def code_asset(deployment: Deployment, folder: str = "", *, cache: Path = CACHE) -> Path:
    """The asset of the current sources and the engine lock, built unless `cache` has it.

    `folder`: a folder that only some functions need; this asset contains it.

    Raises:
        subprocess.CalledProcessError: uv cannot export its lock or download a wheel.
    """
    is_local = deployment.target == "local"
    requirements = "" if is_local else locked_requirements()
    platform = (
        *("--python-platform", PLATFORMS[deployment.architecture]),
        *("--python-version", PYTHON),
    )
    compiler = None if is_local else python_for_bytecode()
    sources = {
        **{str(path): ROOT / path for path in _sources(folder)},
        **(_console_files() if folder == CONSOLE_FOLDER else {}),
        LOCK: deployment.worker.lock_file,
    }
    compiled = Path(compiled_methods.__file__).read_text() if compiler else ""
    recipe = (*platform, requirements, *SERVICES, compiled)
    asset = cache / _digest(recipe, sources)
    if not asset.exists():
        _build(asset, sources, platform, requirements, compiler)
    return asset


def has_bytecode(asset: Path) -> bool:
    """Whether the asset's code is compiled; otherwise each cold start compiles it anew."""
    return next(asset.rglob("*.pyc"), None) is not None


@cache
def python_for_bytecode() -> Path | None:
    """An interpreter of the functions' version: this one, on the PATH, or installed by pyenv."""
    beside = Path(sys.executable).parent
    on_path = shutil.which(f"python{PYTHON}")
    candidates = (
        beside / f"python{PYTHON}",
        *([Path(on_path)] if on_path else []),
        *sorted(Path.home().glob(f".pyenv/versions/{PYTHON}.*/bin/python{PYTHON}")),
    )
    return next((path for path in candidates if _is_right_python(path)), None)


def _is_right_python(path: Path) -> bool:
    command = [str(path), "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.stdout.strip() == PYTHON


def locked_requirements() -> str:
    """What uv.lock pins for the functions, with hashes, as a requirements file."""
    return uv(
        *("export", "--frozen", "--offline", "--no-dev", *FUNCTION_PACKAGES),
        *("--no-emit-project", "--no-header", "--no-annotate"),
    )


def _sources(folder: str) -> Iterator[Path]:
    """The source files of the asset, relative to the root, in a stable order."""
    others = {row.folder for row in FUNCTIONS.values()} - {folder, ""}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            relative = path.relative_to(ROOT)
            left_out = any(relative.is_relative_to(name) for name in (*LEFT_OUT, *others))
            if path.is_file() and "__pycache__" not in relative.parts and not left_out:
                yield relative


def _console_files() -> dict[str, Path]:
    """The files of the console, if it is built."""
    folder = console.built()
    found = sorted(folder.iterdir()) if folder else []
    return {f"{CONSOLE_FOLDER}/{path.name}": path for path in found}


def _digest(recipe: Sequence[str], sources: Mapping[str, Path]) -> str:
    digest = hashlib.sha256(" ".join(recipe).encode())
    for name, path in sources.items():
        digest.update(f"\0{name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _build(
    asset: Path,
    sources: Mapping[str, Path],
    platform: Sequence[str],
    requirements: str,
    compiler: Path | None,
) -> None:
    """Build in a scratch folder and rename it, so that no process ever sees half of the asset."""
    asset.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=asset.parent) as scratch:
        draft = Path(scratch, "code")
        for name, path in sources.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, draft / name)
        if requirements:
            _install(requirements, draft, platform)
            keep_few_services(draft / "botocore" / "data")
        if compiler:
            _compile_methods(draft, compiler, requirements)
            _compile(draft, compiler)
        for path in (draft, *draft.rglob("*")):
            path.chmod(_FOLDER_MODE if path.is_dir() else _FILE_MODE)
        if not asset.exists():  # another process has built the same asset meanwhile
            draft.replace(asset)


def _compile(folder: Path, python: Path) -> None:
    # Python uses such bytecode without a check. Its default check compares the time of the source,
    # which the zip file changes.
    options = ("--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", "/var/task")
    command = [str(python), "-m", "compileall", "-q", *options, str(folder)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def _compile_methods(folder: Path, python: Path, requirements: str) -> None:
    """Compile the methods of dataclasses, which needs packages that this machine can import."""
    packages = folder.parent / "packages"
    _install(requirements, packages, ("--python", str(python)))
    command = [str(python), "-S", "-B", "-P", compiled_methods.__file__]
    # `folder` may have the same packages for another architecture, so they come second.
    environ = {"PYTHONPATH": os.pathsep.join([str(packages), str(folder)])}
    subprocess.run(command, env=environ, check=True)


def _install(requirements: str, folder: Path, platform: Sequence[str]) -> None:
    pins = folder.parent / "requirements.txt"
    pins.write_text(requirements)
    uv(
        *("pip", "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:"),
        *("--target", str(folder), "--link-mode", "copy", *platform, "--requirement", str(pins)),
    )
    # bin/ has commands that no function runs, and they name this machine's interpreter; .lock is
    # uv's own.
    shutil.rmtree(folder / "bin", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)


def uv(*arguments: str) -> str:
    """What the uv of .venv, or the one on the PATH, prints when it is run in the root."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else "uv"
    done = subprocess.run([uv, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout
