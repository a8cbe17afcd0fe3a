"""`comfyline models | usage | status | doctor`: commands about the service."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from comfyline.client.blocking.client import Comfyline
from comfyline.client.cli import arguments as args
from comfyline.client.cli import doctor as checks
from comfyline.client.cli import view
from comfyline.client.cli.load import Load
from comfyline.client.cli.session import connected, errors_shown, new_client, show
from comfyline.client.cli.watching import unfinished
from comfyline.client.errors import Forbidden
from comfyline.client.screen import json_line


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=args.SERVICE)(models)
    app.command(rich_help_panel=args.SERVICE)(usage)
    app.command(rich_help_panel=args.SERVICE)(status)
    app.command(rich_help_panel=args.SERVICE)(doctor)


def models(ctx: typer.Context, as_json: args.AsJson = False) -> None:
    """Show what jobs can use: checkpoints, samplers, schedulers, node classes.

    Example: comfyline models
    """
    with connected(ctx, as_json) as client:
        show(client.models(), as_json, view.fields)


def usage(
    ctx: typer.Context,
    by_month: Annotated[
        bool, typer.Option("--by-month", help="Show each of the last twelve months, too.")
    ] = False,
    as_json: args.AsJson = False,
) -> None:
    """Show what your jobs have used so far.

    Example: comfyline usage --by-month
    """
    with connected(ctx, as_json) as client:
        show(client.usage(by="month" if by_month else None), as_json, view.usage)


def status(ctx: typer.Context, as_json: args.AsJson = False) -> None:
    """Show what waits and what runs: your jobs, and with an admin key the whole service.

    Example: comfyline status
    """
    with connected(ctx, as_json) as client:
        load = Load.of(unfinished(client), _metrics(client))
    if as_json:
        json_line(Console(), load.as_json())
    else:
        view.show_pairs(Console(), load.lines())


def _metrics(client: Comfyline) -> str | None:
    """The service's metrics; None if the key may not read them."""
    try:
        return client.metrics()
    except Forbidden:
        return None


def doctor(ctx: typer.Context, as_json: args.AsJson = False) -> None:
    """Check settings, network, clock, key, versions, socket and file store.

    It says what to do about each fault. The exit code is 1 if there is one.

    Example: comfyline doctor
    """
    with errors_shown(as_json), ctx.obj or new_client(ctx) as client:
        found = checks.examine(client)
    if as_json:
        for check in found:
            json_line(Console(), check.as_json())
    else:
        checks.show(Console(), found)
    raise typer.Exit(any(check.is_wrong for check in found))
