"""`comfyline login | logout | config`: the key is checked, kept, and never shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from comfyline.client import cli, profiles
from comfyline.client.blocking.client import Comfyline
from tests.unit.client.fakes import problem

KEY = "cl_abc_secret"
ME = {"owner": "ann\x1b[2J", "scopes": ["jobs"]}
USAGE = {"owner": "ann", "gpu_seconds": 0, "jobs": 0}
PASS = {
    "ticket": "t",
    "url": "wss://api.test/live?ticket=t",
    "expires_at": "2026-01-02T03:04:05Z",
}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("COMFYLINE_CONFIG", str(tmp_path))
    return tmp_path


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, httpx.Response]:
    """What the service answers, by the last part of the path; the tests may change it."""
    found = {
        "me": httpx.Response(200, json=ME),
        "usage": httpx.Response(200, json=USAGE),
        "ws-tickets": httpx.Response(201, json=PASS),
    }

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        made = found[request.url.path.rpartition("/")[2]]
        return httpx.Response(made.status_code, content=made.content)

    make = Comfyline.__init__

    def made(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, transport=httpx.MockTransport(answer), **options)

    monkeypatch.setattr(Comfyline, "__init__", made)
    return found


def run(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, args, input=stdin)


@pytest.mark.usefixtures("answers")
def test_a_key_from_stdin_is_checked_and_kept(folder: Path) -> None:
    done = run("login", "prod", "--url", "https://api.test/", stdin=f"{KEY}\n")
    assert done.exit_code == 0, done.output
    assert done.stdout == "You are ann?[2J at https://api.test (profile prod).\n"
    assert KEY not in done.output
    kept = profiles.read("prod")
    assert (kept.url, kept.api_key) == ("https://api.test", KEY)
    assert kept.ws_url == "wss://api.test/live"  # without the pass
    assert profiles.current() == kept


@pytest.mark.parametrize(
    ("url", "stdin", "code"),
    [
        (None, f"{KEY}\n", 2),
        ("api.test", f"{KEY}\n", 2),
        ("https://api.test", "", 2),
        ("https://api.test", "clé\n", 2),
    ],
)
def test_what_cannot_be_used_is_not_kept(
    answers: dict[str, httpx.Response], url: str | None, stdin: str, code: int
) -> None:
    done = run("login", *(["--url", url] if url else []), stdin=stdin)
    assert done.exit_code == code
    assert "Error:" in done.stderr
    assert KEY not in done.output
    assert profiles.names() == []


def test_a_refused_key_is_not_kept(answers: dict[str, httpx.Response]) -> None:
    answers["me"] = problem(401, "unauthorized", "There is no such key.")
    done = run("login", "--url", "https://api.test", stdin=KEY)
    assert done.exit_code == 1
    assert "There is no such key." in done.stderr
    assert profiles.names() == []


def test_a_service_that_does_not_tell_its_socket_is_polled(
    answers: dict[str, httpx.Response],
) -> None:
    answers["ws-tickets"] = httpx.Response(201, json={"ticket": "t", "expires_at": "x"})
    done = run("login", "--url", "https://api.test", stdin=KEY)
    assert done.exit_code == 0
    assert "polled" in done.stderr
    assert profiles.read("default").ws_url is None


@pytest.mark.usefixtures("answers")
def test_the_environment_that_wins_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYLINE_URL", "https://env.test")
    assert "COMFYLINE_URL is set" in run("login", "--url", "https://a.test", stdin=KEY).stderr


def test_profiles_are_listed_chosen_and_removed(folder: Path) -> None:
    assert "No profile yet" in run("config", "list").stderr
    for name in ("dev", "prod"):
        profiles.write(name, profiles.Profile(url=f"https://{name}.test", api_key=KEY))
    assert run("config", "use", "prod").stdout == "Profile prod is in use.\n"
    assert run("config", "list").stdout == "  dev  https://dev.test\n* prod  https://prod.test\n"
    assert KEY not in run("config", "list", "--json").output
    (folder / "profiles" / "dev.json").chmod(0o640)
    assert re.search(r"Others can read .*dev\.json", run("config", "list").stderr)
    assert run("config", "use", "other").exit_code == 2
    assert run("logout", "prod").stdout == "Profile prod is removed.\n"
    assert run("logout", "prod").exit_code == 2
    assert profiles.names() == ["dev"]


def test_a_profile_is_chosen_for_one_command(answers: dict[str, httpx.Response]) -> None:
    profiles.write("dev", profiles.Profile(url="https://dev.test", api_key=KEY))
    done = run("--profile", "dev", "usage", "--json")
    assert done.exit_code == 0, done.output
    assert run("--profile", "other", "usage").exit_code == 2
