"""Profiles: the addresses and keys of services, kept in the user's configuration folder.

A profile is one file that only its owner can read. Each profile has its own file, so two processes
that write different profiles cannot undo each other's work. A file is replaced as a whole.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from comfyline.client.errors import NotConfigured

FIRST_NAME = "default"
MAX_FILE_BYTES = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SUFFIX = ".json"


class Profile(BaseModel):
    """How to reach one service. The text of a profile leaves out the key."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    url: str
    api_key: str
    ws_url: str | None = None

    def __repr__(self) -> str:
        return f"Profile(url={self.url!r})"

    __str__ = __repr__


def folder() -> Path:
    """The folder with the profiles: COMFYLINE_CONFIG, or `comfyline` where programs keep theirs."""
    if own := os.environ.get("COMFYLINE_CONFIG"):
        return Path(own)
    usual = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME")
    return (Path(usual) if usual else Path.home() / ".config") / "comfyline"


def current_name() -> str:
    """The name of the profile in use: COMFYLINE_PROFILE, or what `use` has chosen."""
    if named := os.environ.get("COMFYLINE_PROFILE", "").strip():
        return named
    try:
        return (folder() / "current").read_text("utf-8").strip() or FIRST_NAME
    except (OSError, UnicodeDecodeError):
        return FIRST_NAME


def names() -> list[str]:
    """The names of all profiles, sorted."""
    found = (folder() / "profiles").glob(f"*{_SUFFIX}")
    return sorted(name for path in found if _NAME.fullmatch(name := path.stem))


def read(name: str) -> Profile:
    """The profile of that name.

    Raises:
        NotConfigured: there is no such profile, or its file is damaged.
    """
    again = f"make it by `comfyline login {name}`"
    path = _path(name)
    try:
        with path.open("rb") as file:
            return Profile.model_validate_json(file.read(MAX_FILE_BYTES))
    except FileNotFoundError as error:
        raise NotConfigured(f"there is no profile {name}: {again}") from error
    except (OSError, ValidationError) as error:
        raise NotConfigured(f"the profile in {path} cannot be read: {again}") from error


def current() -> Profile | None:
    """The profile in use; None if there is no profile and none was asked for.

    Raises:
        NotConfigured: the profile in use was named and is missing, or its file is damaged.
    """
    name = current_name()
    return None if name == FIRST_NAME and not _path(name).exists() else read(name)


def write(name: str, profile: Profile) -> None:
    """Keep the profile, in place of one with the same name. Only its owner can read the file.

    Raises:
        NotConfigured: the file cannot be written.
    """
    _write(_path(name), profile.model_dump_json())


def use(name: str) -> None:
    """Choose the profile for later calls.

    Raises:
        NotConfigured: there is no such profile, or the choice cannot be stored.
    """
    read(name)
    _write(folder() / "current", name)


def remove(name: str) -> bool:
    """Remove the profile with its key; False if there is none."""
    try:
        _path(name).unlink()
    except FileNotFoundError:
        return False
    return True


def open_to_others() -> Iterator[Path]:
    """Files of profiles that other users of this machine can read."""
    for name in names() if os.name == "posix" else ():
        if (path := _path(name)).stat().st_mode & 0o077:
            yield path


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise NotConfigured(
            f"{name!r} cannot be the name of a profile: use letters, digits and . _ -"
        )
    return folder() / "profiles" / f"{name}{_SUFFIX}"


def _write(path: Path, text: str) -> None:
    new = path.with_name(f".{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The mode counts from the beginning, so the key is at no time readable by others.
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise NotConfigured(f"cannot write {path}: {error.strerror}") from error
