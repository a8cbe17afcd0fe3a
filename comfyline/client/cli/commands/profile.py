"""`comfyline login | logout | config`: where the service is, and with which key."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from comfyline.client import profiles, settings
from comfyline.client.blocking.client import Comfyline
from comfyline.client.cli import arguments as args
from comfyline.client.cli.session import RETRIES, errors_shown, hint, owner_of
from comfyline.client.errors import NotConfigured, NotFound, UnexpectedAnswer
from comfyline.client.screen import json_line, say

Name = Annotated[str, typer.Argument(metavar="[NAME]", help="The name of the profile.")]

config = typer.Typer(no_args_is_help=True, help="Show the profiles and choose one.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=args.SETTINGS)(login)
    app.command(rich_help_panel=args.SETTINGS)(logout)
    app.add_typer(config, name="config", rich_help_panel=args.SETTINGS)


def login(
    name: Name = profiles.FIRST_NAME,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The service's URL. Without it you are asked for it."),
    ] = None,
    ws_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The WebSocket's URL, if the service does not tell it."),
    ] = None,
) -> None:
    """Keep the address of a service and your API key in a profile, and use it from now on.

    The key is read from a prompt that does not show it, or from stdin if that is no terminal. It is
    checked before it is stored, in a file that only you can read. Environment variables win over
    the profile.

    Example: comfyline login --url https://api.example.com

    Example: comfyline login prod --url https://api.example.com < key.txt
    """
    with errors_shown():
        given = url or _asked_url()
        at = settings.address(given, _key(), ws_url or "")
        with Comfyline(at.url, at.api_key, "", retries=RETRIES) as client:
            owner = owner_of(client)
            socket = at.ws_url or _socket_of(client)
        profile = profiles.Profile(url=at.url, api_key=at.api_key, ws_url=socket)
        profiles.write(name, profile)
        profiles.use(name)
    say(Console(), f"You are {owner} at {at.url} (profile {name}).")
    _warn_of_environment()


def _asked_url() -> str:
    if not sys.stdin.isatty():
        raise NotConfigured("--url is missing: stdin is no terminal, so you cannot be asked for it")
    answer: str = typer.prompt("URL of the service", err=True)
    return answer


def _key() -> str:
    if sys.stdin.isatty():
        answer: str = typer.prompt("API key (not shown)", hide_input=True, err=True)
        return answer
    return sys.stdin.readline()


def _socket_of(client: Comfyline) -> str | None:
    """The WebSocket's URL; None if the service is too old to tell it."""
    try:
        return client.socket_url()
    except (NotFound, UnexpectedAnswer):
        hint("The service does not tell the URL of its WebSocket, so jobs are polled.")
        return None


def _warn_of_environment() -> None:
    if settings.is_in_environment():
        hint("COMFYLINE_URL is set, and wins over the profile: unset it, or give --profile.")


def logout(name: Name = profiles.FIRST_NAME) -> None:
    """Remove a profile with its key. The key itself stays valid.

    Example: comfyline logout prod
    """
    with errors_shown():
        if not profiles.remove(name):
            raise NotConfigured(f"there is no profile {name}; see comfyline config list")
    say(Console(), f"Profile {name} is removed.")


@config.command()
def use(name: Annotated[str, typer.Argument(metavar="NAME", help="The profile to use.")]) -> None:
    """Use this profile from now on.

    Example: comfyline config use prod
    """
    with errors_shown():
        profiles.use(name)
    say(Console(), f"Profile {name} is in use.")
    _warn_of_environment()


@config.command("list")
def list_profiles(as_json: args.AsJson = False) -> None:
    """List the profiles, without their keys. A star marks the one in use.

    Example: comfyline config list
    """
    current = profiles.current_name()
    with errors_shown(as_json):
        for name in profiles.names():
            profile = profiles.read(name)
            shown = {"name": name, "url": profile.url, "in_use": name == current}
            star = "*" if name == current else " "
            if as_json:
                json_line(Console(), shown)
            else:
                say(Console(), f"{star} {name}  {profile.url}")
    for path in profiles.open_to_others():
        hint(f"Others can read {path}: chmod 600 it, and replace its key.")
    if not profiles.names():
        hint("No profile yet: comfyline login")
