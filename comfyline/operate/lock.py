"""`comfyline lock`: check and show an engine lock. Needs neither AWS nor a GPU."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from comfyline.service.graphs.lock import EngineLock, InvalidLock, Model

DEFAULT_LOCK = Path("gpu_worker/engine.lock.toml")  # seen from the root of the repository

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Lock = Annotated[Path, typer.Argument(metavar="[PATH]", help="File of the lock.", dir_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def about() -> None:
    """Check and show the engine lock, which pins ComfyUI, its nodes and its models."""


@app.command()
def check(
    path: Lock = DEFAULT_LOCK,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Also compare each model file in this folder with the lock.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Check a lock and print each problem. The exit code is 1 if there are any.

    Example: comfyline lock check team.lock.toml --root ComfyUI/models
    """
    lock = _read(path)
    problems = [*_warm_up_problems(lock, path), *(_folder_problems(lock, root) if root else ())]
    if problems:
        _refuse(problems)
    models = len(lock.models)
    size = sum(model.bytes for model in lock.models)
    typer.echo(f"{path} is valid: {models} models, {size / 1e9:.1f} GB")


@app.command()
def show(path: Lock = DEFAULT_LOCK, as_json: AsJson = False) -> None:
    """Print the sources with their commits, and the models with their keys in S3."""
    lock = _read(path)
    if as_json:
        typer.echo(json.dumps(lock.model_dump(mode="json")))
        return
    for source in (lock.comfyui, *lock.custom_nodes):
        typer.echo(f"{source.commit}  {source.repository}")
    for model in lock.models:
        typer.echo(f"{model.sha256}  {model.bytes:>14,}  {model.key}")


def _read(path: Path) -> EngineLock:
    try:
        return EngineLock.parse(path.read_text(encoding="utf-8"))
    except InvalidLock as error:
        _refuse(error.problems)
    except OSError as error:
        raise typer.BadParameter(
            f"cannot read {path}: {error.strerror}", param_hint="PATH"
        ) from error
    except UnicodeDecodeError:
        _refuse([f"{path} is not a text file in UTF-8"])


def _refuse(problems: list[str]) -> NoReturn:
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1)


def _warm_up_problems(lock: EngineLock, path: Path) -> Iterator[str]:
    if lock.warm_up is None:
        return
    try:
        graph = json.loads(path.with_name(lock.warm_up).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"warm_up: {lock.warm_up}: {error}"
        return
    if not isinstance(graph, dict) or not graph:
        yield (
            f"warm_up: {lock.warm_up} is not a graph in ComfyUI's API format; "
            "export it with *Export (API)*"
        )


def _folder_problems(lock: EngineLock, root: Path) -> Iterator[str]:
    for model in lock.models:
        problem = _file_problem(model, root / model.path)
        if problem is not None:
            yield f"{model.path}: {problem}"


def _file_problem(model: Model, path: Path) -> str | None:
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != model.bytes:
        return f"has {size:,} bytes, not {model.bytes:,}"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return None if found == model.sha256 else f"has the SHA-256 {found}"


if __name__ == "__main__":
    app()
