"""Shows errors of the client: what went wrong, the likely reason, and what to do."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

import httpx
from rich.console import Console
from rich.text import Text

from comfyline.client.errors import ApiError, ComfylineClientError, TransportFailed, Unauthorized
from comfyline.client.screen import json_line, plain, say
from comfyline.contract.texts import clean

# The first that fits: an error that is beneath the one that the client raises, and its reason.
_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (
        ConnectionRefusedError,
        "Nothing listens at that address. Check COMFYLINE_URL, and that the service runs; a local "
        "one is started by `make up`.",
    ),
    (
        socket.gaierror,
        "The name of the host is unknown. Check COMFYLINE_URL and this machine's network.",
    ),
    (
        ssl.SSLCertVerificationError,
        "This machine does not trust the certificate. Check the host in COMFYLINE_URL; behind a "
        "company's proxy, set SSL_CERT_FILE to its certificates.",
    ),
    (ssl.SSLError, "The service does not speak TLS there. Check the scheme in COMFYLINE_URL."),
    (
        httpx.TimeoutException,
        "Nothing answered in time. Check COMFYLINE_URL, and whether a firewall is in between.",
    ),
    (OSError, "Check COMFYLINE_URL and this machine's network."),
)
_ANY_REASON = "Check that COMFYLINE_URL is right and that the service runs."


def reason_of(error: BaseException) -> str:
    """The likely reason why no response came, and what to do."""
    beneath = list(_causes(error))
    fitting = (why for kind, why in _REASONS if any(isinstance(e, kind) for e in beneath))
    return next(fitting, _ANY_REASON)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def unexpected(console: Console, error: Exception) -> None:
    """Print an error that the command line does not know, on one line."""
    kind = type(error).__name__
    console.print(Text.assemble(("Error: ", "bold red"), plain(f"{kind}: {error}")), soft_wrap=True)
    say(console, "  COMFYLINE_DEBUG=1 shows where it happened.", "dim")


def is_debugging() -> bool:
    """Whether an unexpected error is shown with its traceback."""
    return bool(os.environ.get("COMFYLINE_DEBUG"))


def error(console: Console, problem: ComfylineClientError) -> None:
    """Print the error, the invalid fields, and the request id to give when asking for help."""
    message = problem.message if isinstance(problem, ApiError) else str(problem)
    console.print(Text.assemble(("Error: ", "bold red"), plain(message)), soft_wrap=True)
    if isinstance(problem, TransportFailed):
        say(console, f"  {reason_of(problem)}")
    if not isinstance(problem, ApiError):
        return
    details = problem.problem
    for field in (details.errors if details else None) or ():
        # If there is one wrong field, the service also gives its message as the detail.
        what = "" if details and field.msg == details.detail else f": {field.msg}"
        say(console, f"  {'.'.join(map(str, field.loc))}{what}")
    if isinstance(problem, Unauthorized):
        say(console, "  Check that COMFYLINE_API_KEY, or the profile, has a key of this service.")
    if problem.request_id:
        say(console, f"  request id {problem.request_id}", "dim")


def json_error(console: Console, problem: ComfylineClientError) -> None:
    """Print the error for programs, with the service's own problem document if there is one."""
    about: dict[str, object] = {"type": "error", "message": clean(str(problem))}
    if isinstance(problem, ApiError):
        about |= {"status": problem.status, "request_id": problem.request_id}
        if problem.problem is not None:
            about["problem"] = problem.problem.model_dump(mode="json", exclude_none=True)
    json_line(console, about)
