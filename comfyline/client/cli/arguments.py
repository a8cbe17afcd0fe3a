"""The arguments and options of the commands, and the checks made before anything is sent."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from comfyline.client.cli import completion
from comfyline.client.options import OutputChoice
from comfyline.contract.ids import JOB_ID_CHARACTERS, JOB_ID_PATTERN
from comfyline.contract.v1 import common


def _matching(pattern: str, what: str) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and not re.fullmatch(pattern, value):
            raise typer.BadParameter(f"{value!r} is not {what}")
        return value

    return check


def _one_of(literal: Any) -> Callable[[str | None], str | None]:
    """A callback that accepts the values of a `Literal` type only."""
    names = get_args(literal)
    return _matching("|".join(names), "one of " + ", ".join(names))


def is_job_id(text: str) -> bool:
    """Whether the text is a whole job id."""
    return re.fullmatch(JOB_ID_PATTERN, text) is not None


_check_job_id = _matching(
    rf"last|(job_)?[{JOB_ID_CHARACTERS}]{{4,26}}",
    "a job id: give job_ and 26 characters, the first 4 or more of them, or last",
)


def _check_job_ids(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        _check_job_id(value)
    return values


# --- groups of commands in the help ---------------------------------------------------------------

JOBS = "Jobs"
RESULTS = "Results"
SERVICE = "The service"
SETTINGS = "Settings"

# --- which jobs, and how results are shown --------------------------------------------------------

_ID_HELP = "The job's id, its first characters, or last."
JobId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help=_ID_HELP, callback=_check_job_id, autocompletion=completion.job_ids
    ),
]
JobIds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID", help=_ID_HELP, callback=_check_job_ids, autocompletion=completion.job_ids
    ),
]
AllJobs = Annotated[bool, typer.Option("--all", help="Follow all your jobs that have not ended.")]
CancelAll = Annotated[bool, typer.Option("--all", help="Cancel all your jobs that have not ended.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --all.")]
After = Annotated[int, typer.Option(min=0, help="Show only the changes after this version.")]
Number = Annotated[
    int, typer.Option(min=0, help="The file's number, as comfyline files prints it.")
]
MetaFilter = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Show only the jobs with this label. Repeatable."),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Show only the jobs since then: 30min, 2h, 7d, or 2026-01-31, or 2026-01-31T12:00.",
    ),
]
# The service stores a job that is `canceling` as `queued` or `running`, and lists it so.
STATES = tuple(status for status in get_args(common.Status) if status != "canceling")
StatusFilter = Annotated[
    str | None,
    typer.Option(
        metavar="STATUS",
        help="Show only these jobs: " + ", ".join(STATES) + ".",
        callback=_matching("|".join(STATES), "one of " + ", ".join(STATES)),
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="Show at most this many jobs.")]
Purge = Annotated[
    bool, typer.Option("--purge", help="Remove an ended job and all its files for good.")
]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Wait for the job to end and show its progress.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        file_okay=False,
        help="Wait for the end of the job, and save its files in this directory.",
    ),
]
Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help="A file."),
]
Directory = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", file_okay=False, help="Save the files here.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines only, for programs.")]

# --- what to submit -------------------------------------------------------------------------------


def _prompt(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel="Options of a prompt")


def _workflow(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel="Options of a workflow", **more)


def _job(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel="Options of the job", **more)


def _choice(text: str, literal: Any, *names: str) -> Any:
    metavar = "|".join(get_args(literal))
    return _job(text, *names, metavar=metavar, callback=_one_of(literal))


Prompt = Annotated[
    str | None, typer.Argument(metavar="PROMPT", help="What the picture should show.")
]
Negative = Annotated[str | None, _prompt("What the picture should not show.")]
Width = Annotated[int | None, _prompt("Width in pixels, a multiple of 8.")]
Height = Annotated[int | None, _prompt("Height in pixels, a multiple of 8.")]
Steps = Annotated[int | None, _prompt("Number of sampling steps.")]
Cfg = Annotated[float | None, _prompt("How closely the picture follows the prompt.")]
Sampler = Annotated[str | None, _prompt("A sampler of ComfyUI, such as euler.")]
Scheduler = Annotated[str | None, _prompt("A scheduler of ComfyUI, such as karras.")]
Seed = Annotated[
    int | None, _prompt("Seed of the noise. The same request and seed give the same picture.")
]
Model = Annotated[str | None, _prompt("A checkpoint; see comfyline models.")]
BatchSize = Annotated[int | None, _prompt("Number of pictures.")]

_WORKFLOW_HELP = "A workflow in ComfyUI's API format instead of a prompt; - reads it from stdin."
_INPUT_HELP = "Upload a file for an input of the workflow, such as 10.image=photo.png. Repeatable."
Workflow = Annotated[Path | None, _workflow(_WORKFLOW_HELP, metavar="FILE")]
Inputs = Annotated[list[str] | None, _workflow(_INPUT_HELP, "--input", metavar="NODE.INPUT=FILE")]

_FORMAT_HELP = "Store still pictures in this format, without the workflow in their metadata."
_PREVIEWS_HELP = "Make previews while the job is watched; --json prints their URLs."
_STRICT_HELP = "Fail if an output of the workflow is invalid. Otherwise the valid outputs run."
_REUSE_HELP = "Return your job with the same request, if there is one, or always make a new job."
Priority = Annotated[
    str | None, _choice("Workers take jobs of a higher priority first.", common.Priority)
]
StartDeadline = Annotated[int | None, _job("Seconds that the job may wait before it expires.")]
ExecutionTimeout = Annotated[int | None, _job("Seconds that the job may run before it fails.")]
PictureFormat = Annotated[str | None, _choice(_FORMAT_HELP, common.PictureFormat, "--format")]
Quality = Annotated[int | None, _job("Quality of --format; the default is 90.", min=1, max=100)]
Previews = Annotated[bool, _job(_PREVIEWS_HELP, "--previews")]
Strict = Annotated[bool, _job(_STRICT_HELP, "--strict")]
Reuse = Annotated[bool | None, _job(_REUSE_HELP)]
Meta = Annotated[
    list[str] | None, _job("A label to store with the job. Repeatable.", metavar="KEY=VALUE")
]
IdempotencyKey = Annotated[
    str | None, _job("The same key and request always give the same job.", metavar="KEY")
]

# --- values that need more than one check ---------------------------------------------------------


def metadata(texts: list[str] | None) -> dict[str, str] | None:
    """KEY=VALUE texts as a dictionary; None if there are none."""
    found = {}
    for text in texts or ():
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--meta")
        found[key] = value
    return found or None


def input_files(texts: list[str] | None) -> dict[str, Path]:
    """NODE.INPUT=FILE texts as a dictionary from the input to an existing file."""
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
    """The JSON object in the file, or on stdin for `-`. The service checks that it is a graph."""
    try:
        # Some editors write a byte order mark, which is not JSON.
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
        value = json.loads(text)
    except OSError as error:
        raise typer.BadParameter(str(error), param_hint="--workflow") from error
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}", param_hint="--workflow") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{file} does not hold a JSON object", param_hint="--workflow")
    return value


def output_choice(picture_format: str | None, quality: int | None) -> OutputChoice | None:
    """What --format and --quality ask for together."""
    if picture_format is None:
        if quality is not None:
            raise typer.BadParameter("--quality needs --format")
        return None
    choice = OutputChoice(format=cast("common.PictureFormat", picture_format))
    return choice if quality is None else {**choice, "quality": quality}


_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, now: datetime) -> datetime:
    """The moment that --since means: so long before now, or a date and time.

    A time without a zone is in this machine's zone.
    """
    try:
        if span := re.fullmatch(r"(\d{1,9})\s*(s|min|h|d|w)", text.strip()):
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is not a time: give 30min, 2h, 7d or 2026-01-31T12:00", param_hint="--since"
        ) from error
