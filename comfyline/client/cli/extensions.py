"""Commands that other distributions add to `comfyline`.

Each is a Typer app, named by the entry point group `comfyline.commands`. It is imported only when
it is used.
"""

from __future__ import annotations

import errno
import re
from importlib.metadata import EntryPoints, entry_points
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.main import get_command

from comfyline.client.cli import errors

GROUP = "comfyline.commands"
# The commands of the distribution `comfyline-operator`, which users of the client do not install.
PANEL = "For operators, and from other packages"
OPERATORS = ("keys", "admin", "lock")
# Wrong usage, and ends of a command. Typer has no public name for the base class of the former.
_USAGE = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_EXPECTED = (_USAGE, typer.Exit, typer.Abort, EOFError)


class ExtensibleGroup(TyperGroup):
    """The built-in commands and those of the entry points; a built-in command hides another.

    An error that no command expects is printed on one line, with the exit code 1.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(error, _EXPECTED) or is_closed_pipe(error) or errors.is_debugging():
                raise
            errors.unexpected(Console(stderr=True), error)
            raise typer.Exit(1) from error

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, the built-in ones first, then the others in the order of the alphabet."""
        built_in = super().list_commands(ctx)
        return [*built_in, *sorted(entry_points(group=GROUP).names - set(built_in))]

    def get_params(self, ctx: Any) -> Any:
        """The options; see `_without_types`."""
        return _without_types(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        built_in = super().get_command(ctx, cmd_name)
        found = entry_points(group=GROUP, name=cmd_name)
        if built_in is not None or not (found or cmd_name in OPERATORS):
            return _tidied(built_in, ctx)
        command = get_command(_load(found))
        command.name = cmd_name
        command.rich_help_panel = PANEL  # type: ignore[attr-defined]
        return command


def _tidied(command: Any, ctx: Any) -> Any:
    """The command, or None, with a help text whose paragraphs are wrapped as the terminal needs."""
    if command is not None:
        _without_types(command.get_params(ctx))
        command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "")
    return command


def _without_types(parameters: Any) -> Any:
    """The parameters; the help shows a flag without a type, because it takes no value."""
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return parameters


def is_closed_pipe(error: Exception) -> bool:
    """Whether the program that reads the output has ended. Typer then ends without a word."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _load(found: EntryPoints) -> typer.Typer:
    """The app of the entry point, or one that reports why the command is not available."""
    if not found:
        return _unavailable("it needs `pip install comfyline-operator`")
    try:
        app: typer.Typer = next(iter(found)).load()
    except ImportError as error:
        return _unavailable(str(error))
    return app


def _unavailable(reason: str) -> typer.Typer:
    """A command that only reports why the real one cannot be imported."""
    app = typer.Typer(add_completion=False)

    @app.command(
        help=f"Not available: {reason}.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def missing() -> None:
        typer.echo(f"This command is not available: {reason}.", err=True)
        raise typer.Exit(1)

    return app
