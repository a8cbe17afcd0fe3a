"""`comfyline lock`: what a platform team asks of its engine lock, without AWS or a GPU."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from comfyline.service.graphs.lock import EngineLock, InvalidLock, Model

DEFAULT_LOCK = Path("gpu_worker/engine.lock.toml")  # of the project, from its root

app = typer.Typer(no_args_is_help=True, help="The engine lock: what the workers have.")

Lock = Annotated[Path, typer.Argument(metavar="[PATH]", help="The lock.", dir_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.callback()
def about() -> None:
    """The engine lock: what the workers have."""


@app.command()
def check(
    path: Lock = DEFAULT_LOCK,
    root: Annotated[
        Path | None,
        typer.Option(
            help="A folder of models to check against the lock, file by file.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Say everything that is wrong with a lock: exit 0 if nothing is, 1 otherwise, 2 for usage.

    Example: comfyline lock check team.lock.toml --root ComfyUI/models
    """
    lock = _read(path)
    problems = [*_beside(lock, path), *(_in_folder(lock, root) if root else ())]
    if problems:
        _refuse(problems)
    models = len(lock.models)
    size = sum(model.bytes for model in lock.models)
    typer.echo(f"{path}: good; {models} models, {size / 1e9:.1f} GB")


@app.command()
def show(path: Lock = DEFAULT_LOCK, as_json: AsJson = False) -> None:
    """Show the sources and the models, with the keys that the models have in S3."""
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
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="PATH") from error
    except UnicodeDecodeError:
        _refuse([f"{path} is not UTF-8"])
    raise AssertionError("unreachable")


def _refuse(problems: list[str]) -> None:
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1)


def _beside(lock: EngineLock, path: Path) -> Iterator[str]:
    if lock.warm_up is None:
        return
    try:
        graph = json.loads(path.with_name(lock.warm_up).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"warm_up: {lock.warm_up}: {error}"
        return
    if not isinstance(graph, dict) or not graph:
        yield f"warm_up: {lock.warm_up} is no graph in ComfyUI's API format"


def _in_folder(lock: EngineLock, root: Path) -> Iterator[str]:
    for model in lock.models:
        problem = _of_file(model, root / model.path)
        if problem is not None:
            yield f"{model.path}: {problem}"


def _of_file(model: Model, path: Path) -> str | None:
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
