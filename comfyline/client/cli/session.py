"""What the commands share: a client whose errors are shown, and which job an ID means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console

from comfyline.client.blocking.client import Comfyline
from comfyline.client.cli import errors
from comfyline.client.cli.arguments import is_job_id
from comfyline.client.errors import ComfylineClientError, NotConfigured, NotFound
from comfyline.client.retries import Retries
from comfyline.client.screen import json_line, say
from comfyline.contract.limits import MAX_SUBSCRIPTIONS

PROFILE = "comfyline.profile"  # in the context: the value of --profile
USAGE = 2
# A person waits, and can try again. A refused connection is told at once.
RETRIES = Retries(tries=3, tries_to_connect=1)
MAX_PAGE = 100
MAX_WATCHED = MAX_SUBSCRIPTIONS  # of one socket

Answer = TypeVar("Answer", bound=BaseModel)


@contextmanager
def connected(ctx: typer.Context, as_json: bool = False) -> Iterator[Comfyline]:
    """A client, or that of a test. Its errors are shown and end the command."""
    with errors_shown(as_json), ctx.obj or new_client(ctx) as client:
        yield client


def owner_of(client: Comfyline) -> str:
    """The owner of the client's key, whatever the key may do."""
    try:
        return client.me().owner
    except NotFound:
        return client.usage().owner  # a service of an earlier version


def new_client(ctx: typer.Context) -> Comfyline:
    """A client of the service that --profile, the environment or the profile in use names."""
    return Comfyline(profile=ctx.meta.get(PROFILE), retries=RETRIES)


@contextmanager
def errors_shown(as_json: bool = False) -> Iterator[None]:
    """Show the client's error, and end the command with the exit code for it."""
    try:
        yield
    except ComfylineClientError as error:
        shown = errors.json_error if as_json else errors.error
        shown(Console(stderr=True), error)
        raise typer.Exit(USAGE if isinstance(error, NotConfigured) else 1) from error


def show(answer: Answer, as_json: bool, as_text: Callable[[Console, Answer], None]) -> None:
    """Print the answer as one line of JSON, or by `as_text`."""
    if as_json:
        json_line(Console(), answer.model_dump(mode="json"))
    else:
        as_text(Console(), answer)


def hint(text: str) -> None:
    """Print what the user can do next, on stderr."""
    say(Console(stderr=True), text, "dim")


# --- which job an ID means ------------------------------------------------------------------------


def job_ids_of(client: Comfyline, given: Iterable[str]) -> list[str]:
    """The jobs' ids, each once, in the given order; see `job_id_of`."""
    return list(dict.fromkeys(job_id_of(client, each) for each in given))


def job_id_of(client: Comfyline, given: str) -> str:
    """The id that is meant by an id, by its first characters, or by `last`.

    Raises:
        typer.BadParameter: no job, or more than one of the newest, is meant.
    """
    if is_job_id(given):
        return given
    newest = [job.job_id for job in next(iter(client.list(limit=MAX_PAGE))).jobs]
    if given == "last":
        found = newest[:1]
    else:
        start = "job_" + given.removeprefix("job_")
        found = [job_id for job_id in newest if job_id.startswith(start)]
    if len(found) == 1:
        return found[0]
    if not found:
        missing = "you have no job" if given == "last" else f"none of your newest jobs is {given!r}"
        raise typer.BadParameter(f"{missing}; see comfyline list")
    raise typer.BadParameter(f"{given!r} begins the ids of {len(found)} jobs: give more of it")
