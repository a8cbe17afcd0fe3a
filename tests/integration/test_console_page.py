"""GET /console: the files as they are served. tests/e2e/test_console*.py open the page."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from urllib.parse import urljoin

import pytest

from comfyline.contract.console_page import page_policy
from functions import show_console
from functions._request import Request
from functions.show_console import NOT_BUILT, file, names
from tests.support.gateway import Gateway

POLICY = "default-src 'none'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the build leaves it."""
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "index-4f2a.js").write_bytes(b"start()")
    (tmp_path / "notes.txt").write_text("not part of the page")
    (tmp_path / "more").mkdir()
    return tmp_path


@pytest.fixture
def built(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show_console, "FOLDER", folder)


def asking(encoding: str) -> Request:
    return Request(
        {"headers": {"accept-encoding": encoding}, "requestContext": {"http": {"method": "GET"}}}
    )


def test_a_deployment_without_a_console_says_so(gateway: Gateway) -> None:
    reply = gateway("GET", "/console")
    assert (reply.status, reply.json["detail"]) == (404, NOT_BUILT)


@pytest.mark.parametrize("name", ["..%2Fshow_console.py", "../show_console.py", "x.js"])
def test_no_file_outside_of_the_folder_is_served(gateway: Gateway, name: str) -> None:
    assert gateway("GET", f"/console/{name}").status == 404


# An address below /console is that of a file, so that of the page has no slash at its end.
@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/console/", "../console"),
        ("/console/?state=a&code=b%26c", "../console?state=a&code=b%26c"),
        ("/console/index-4f2a.js/", "../index-4f2a.js"),
        ("/docs/", "../docs"),
        ("/docs/live/", "../live"),
    ],
)
def test_an_address_with_a_slash_at_its_end_leads_to_the_one_without(
    gateway: Gateway, path: str, address: str
) -> None:
    reply = gateway("GET", path)
    assert (reply.status, reply.headers["location"]) == (308, address)
    assert reply.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["//elsewhere.example/", "/%2Felsewhere.example/", "/x%0D%0Ay/"])
def test_no_address_leads_to_another_host(gateway: Gateway, path: str) -> None:
    location = gateway("GET", f"/console{path}").headers.get("location", "..")
    assert urljoin("https://here.example/console/", location).startswith("https://here.example/")
    assert "\r" not in location


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("path", ["/console", "/console/index-4f2a.js"])
def test_head_is_answered_as_get_is_but_without_the_text(gateway: Gateway, path: str) -> None:
    got, head = gateway("GET", path), gateway("HEAD", path)
    assert (head.status, head.text) == (200, "")
    assert {**head.headers, "x-request-id": ""} == {**got.headers, "x-request-id": ""}


@pytest.mark.usefixtures("built")
def test_a_file_that_is_not_there_may_be_there_later(gateway: Gateway) -> None:
    """After a deployment, a page may ask a location for a file that it does not have yet."""
    reply = gateway("GET", "/console/index-0000.js")
    assert reply.status == 404
    assert "max-age" not in reply.headers.get("cache-control", "")


def test_the_files_are_those_of_the_page(folder: Path) -> None:
    assert names(folder) == {"index.html", "index-4f2a.js"}


def test_a_hashed_file_is_kept_for_ever_and_the_page_is_asked_for_each_time(folder: Path) -> None:
    kept = {name: file(folder / name).cache for name in names(folder)}
    assert kept["index.html"] == "no-cache"
    assert "immutable" in kept["index-4f2a.js"]


def test_a_file_is_the_same_compressed_or_not(folder: Path) -> None:
    script = file(folder / "index-4f2a.js")
    plain = script.answer(asking("br"), {"content-security-policy": POLICY}).to_gateway("r")
    small = script.answer(asking("gzip, br"), {"content-security-policy": POLICY}).to_gateway("r")
    assert base64.b64decode(plain["body"]) == b"start()"
    assert gzip.decompress(base64.b64decode(small["body"])) == b"start()"
    assert small["headers"]["content-encoding"] == "gzip"
    assert plain["headers"]["content-type"] == "text/javascript; charset=utf-8"
    assert plain["headers"]["content-security-policy"] == POLICY
    assert "content-encoding" not in plain["headers"]


def test_the_policy_allows_no_inline_script_and_no_other_origin(gateway: Gateway) -> None:
    origins = gateway.wiring.page_origins
    assert origins == ("https://files.s3.us-east-1.amazonaws.com", "wss://sockets.example.com")
    rules = dict(rule.split(" ", 1) for rule in page_policy(origins).split("; "))
    assert (rules["default-src"], rules["script-src"]) == ("'none'", "'self'")
    assert rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"].split() == ["'self'", *origins]
    assert not any("unsafe" in rule or "*" in rule for rule in rules.values())
