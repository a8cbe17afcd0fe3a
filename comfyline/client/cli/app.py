"""The command line: `comfyline submit | get | list | watch | ...`.

stdout carries results only (ids, progress, paths, JSON lines); hints and errors go to stderr.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from comfyline.client.cli.commands import jobs, profile, results, service, submit
from comfyline.client.cli.extensions import ExtensibleGroup
from comfyline.client.cli.session import PROFILE

app = typer.Typer(
    cls=ExtensibleGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # the group shows errors, and local variables hold the key
    help="Run ComfyUI jobs on a Comfyline service.\n\n"
    "Run `comfyline login` first, or set COMFYLINE_URL, COMFYLINE_API_KEY and, for live progress, "
    "COMFYLINE_WS_URL.\n\n"
    'Example: comfyline submit "a red fox in the snow" --watch --out pictures\n\n'
    "An ID is a job's id, its first characters, or `last` for your newest job.\n\n"
    "Exit codes: 0 succeeded, 1 failed or refused, 2 wrong usage, 3 canceled, 4 expired, "
    "130 interrupted by Ctrl-C.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"comfyline {version('comfyline')}")
        raise typer.Exit


@app.callback()
def _main(
    ctx: typer.Context,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Use this profile instead of the environment or the one in use.",
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    ctx.meta[PROFILE] = profile


for commands in (submit, jobs, results, service, profile):
    commands.add_to(app)
