"""What a user types, checked before anything is sent."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast, get_args

import typer

from comfyline.client.calls import OutputChoice
from comfyline.contract.ids import JOB_ID_PATTERN
from comfyline.contract.v1 import common


def _matching(pattern: str, what: str) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and not re.fullmatch(pattern, value):
            raise typer.BadParameter(f"{value!r} is not {what}")
        return value

    return check


def one_of(kind: Any) -> Callable[[str | None], str | None]:
    """A callback that lets only the values of a `Literal` type through."""
    names = get_args(kind)
    return _matching("|".join(names), "one of " + ", ".join(names))


PictureFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="webp|jpeg",
        callback=one_of(common.PictureFormat),
        help="Store still pictures as that, without their workflow.",
    ),
]
Previews = Annotated[
    bool, typer.Option("--previews", help="Make previews while it is watched; --json shows them.")
]
Quality = Annotated[int | None, typer.Option(min=1, max=100, help="Of --format; 90 if not given.")]

_is_job_id = _matching(JOB_ID_PATTERN, "a job id: job_ and 26 characters")


def _job_ids(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        _is_job_id(value)
    return values


JobId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The job's id, job_...",
        callback=_is_job_id,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines only, for machines.")]
JobIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="The jobs' ids, job_...", callback=_job_ids),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", file_okay=False, help="Wait, and save the files here."),
]


def pairs(texts: list[str] | None) -> dict[str, str] | None:
    """KEY=VALUE texts as a dictionary; None if there are none."""
    found = {}
    for text in texts or ():
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--meta")
        found[key] = value
    return found or None


def files(texts: list[str] | None) -> dict[str, Path]:
    """NODE.INPUT=FILE texts as places and the files that are there."""
    found = {}
    for text in texts or ():
        place, separator, name = text.partition("=")
        if not separator or "." not in place.strip("."):
            raise typer.BadParameter(f"{text!r} is not NODE.INPUT=FILE", param_hint="--input")
        if not Path(name).is_file():
            raise typer.BadParameter(f"there is no file {name}", param_hint="--input")
        found[place] = Path(name)
    return found


def graph(file: Path) -> dict[str, Any]:
    """The JSON object in the file, or on stdin for `-`; whether it is a graph, the service says."""
    try:
        # The BOM that some editors write is no JSON.
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
        value = json.loads(text, parse_constant=_no_constant)
    except OSError as error:
        raise typer.BadParameter(str(error), param_hint="--workflow") from error
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}", param_hint="--workflow") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{file} holds no JSON object", param_hint="--workflow")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is Python's, not JSON's")


def output_choice(picture_format: str | None, quality: int | None) -> OutputChoice | None:
    """What --format and --quality ask together."""
    if picture_format is None:
        if quality is not None:
            raise typer.BadParameter("--quality goes with --format")
        return None
    choice = OutputChoice(format=cast("common.PictureFormat", picture_format))
    return choice if quality is None else {**choice, "quality": quality}
