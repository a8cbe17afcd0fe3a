"""Commands that other distributions, or extras of this one, add to `comfyline`.

Each is a Typer app, named by the entry point group `comfyline.commands`. It is imported only when
it is used.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

GROUP = "comfyline.commands"


class ExtensibleGroup(TyperGroup):
    """The built-in commands and those of the entry points; a built-in command hides another."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, the built-in ones first."""
        built_in = super().list_commands(ctx)
        added = [name for name in entry_points(group=GROUP).names if name not in built_in]
        return [*built_in, *added]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        built_in = super().get_command(ctx, cmd_name)
        found = entry_points(group=GROUP, name=cmd_name)
        if built_in is not None or not found:
            return built_in
        try:
            command = get_command(next(iter(found)).load())
        except ImportError as error:
            command = get_command(_unavailable(str(error)))
        command.name = cmd_name
        return command


def _unavailable(reason: str) -> typer.Typer:
    """A command that only reports that the dependencies of the real one are not installed."""
    app = typer.Typer(add_completion=False)

    @app.command(
        help=f"Not available: {reason}.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def missing() -> None:
        typer.echo(f"This command is not available: {reason}.", err=True)
        raise typer.Exit(1)

    return app
