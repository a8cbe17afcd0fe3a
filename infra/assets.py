"""The one code asset that all functions share.

On AWS it holds the sources and the locked wheels for the functions' platform. For the emulator of
`target = "local"`, which runs handlers in its own interpreter, it holds the sources only. uv builds
it, without Docker. Its name is a hash of its inputs, so that the same sources and locks give the
same asset on every machine.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from infra.deployment import ROOT, Deployment

PACKAGES = ("comfyline", "functions")
# Packages that only clients, operators or tests import.
LEFT_OUT = ("comfyline/adapters/memory", "comfyline/client", "comfyline/operate")
LOCK = "gpu_worker/engine.lock.toml"  # where the functions look for the lock
# boto3 is part of Lambda's runtime; leaving it out makes the download of each cold start 31 MB
# smaller. The other packages belong to the client.
PRUNED = ("boto3", "httpx", "rich", "typer", "websockets")
PLATFORMS = {"arm64": "aarch64-manylinux2014", "x86_64": "x86_64-manylinux2014"}


def code_asset(deployment: Deployment, cache: Path = ROOT / ".cache" / "function-code") -> Path:
    """The asset of the current sources and the engine lock, built unless `cache` has it.

    Its name is the hash of its inputs.

    Raises:
        subprocess.CalledProcessError: uv cannot export its lock or download a wheel.
    """
    requirements = "" if deployment.target == "local" else locked_requirements()
    platform = ("--python-platform", PLATFORMS[deployment.architecture], "--python-version", "3.13")
    sources = {
        **{str(path): ROOT / path for path in _sources()},
        LOCK: deployment.worker.lock_file,
    }
    folder = cache / _digest(platform, requirements, sources)
    if not folder.exists():
        _build(folder, sources, platform, requirements)
    return folder


def locked_requirements() -> str:
    """What uv.lock pins for the functions, with hashes, as a requirements file."""
    prunes = [option for name in PRUNED for option in ("--prune", name)]
    return _uv(
        *("export", "--frozen", "--offline", "--no-dev", "--extra", "lambda"),
        *("--no-emit-project", "--no-header", "--no-annotate"),
        *prunes,
    )


def _sources() -> Iterator[Path]:
    """The source files of the asset, relative to the root, in a stable order."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            relative = path.relative_to(ROOT)
            left_out = any(relative.is_relative_to(name) for name in LEFT_OUT)
            if path.is_file() and "__pycache__" not in relative.parts and not left_out:
                yield relative


def _digest(platform: Sequence[str], requirements: str, sources: Mapping[str, Path]) -> str:
    digest = hashlib.sha256(" ".join((*platform, requirements)).encode())
    for name, path in sources.items():
        digest.update(f"\0{name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _build(
    folder: Path, sources: Mapping[str, Path], platform: Sequence[str], requirements: str
) -> None:
    """Build in a scratch folder and rename it, so that no process ever sees half of the asset."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        draft = Path(scratch, "code")
        for name, path in sources.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, draft / name)
        if requirements:
            _install(requirements, platform, draft)
        if not folder.exists():  # another process has built the same asset meanwhile
            draft.replace(folder)


def _install(requirements: str, platform: Sequence[str], folder: Path) -> None:
    pins = folder.parent / "requirements.txt"
    pins.write_text(requirements)
    _uv(
        *("pip", "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:"),
        *("--target", str(folder), "--link-mode", "copy", *platform, "--requirement", str(pins)),
    )
    # bin/ has commands that no function runs, and they name this machine's interpreter; .lock is
    # uv's own.
    shutil.rmtree(folder / "bin", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)


def _uv(*arguments: str) -> str:
    # .venv contains a uv, so that make works without one on the PATH.
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else "uv"
    done = subprocess.run([uv, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout
