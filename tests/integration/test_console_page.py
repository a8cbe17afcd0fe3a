"""GET /console: the files as they are served. tests/e2e/test_console*.py open the page."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import pytest

from comfyline.contract.console_page import page_policy
from functions._request import Request
from functions.show_console import NOT_BUILT, files
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


def asking(encoding: str) -> Request:
    return Request({"headers": {"accept-encoding": encoding}})


def test_a_deployment_without_a_console_says_so(gateway: Gateway) -> None:
    reply = gateway("GET", "/console")
    assert (reply.status, reply.json["detail"]) == (404, NOT_BUILT)


@pytest.mark.parametrize("name", ["..%2Fshow_console.py", "../show_console.py", "x.js", ""])
def test_no_file_outside_of_the_folder_is_served(gateway: Gateway, name: str) -> None:
    assert gateway("GET", f"/console/{name}").status == 404


def test_the_files_are_those_of_the_page(folder: Path) -> None:
    assert {*files(folder)} == {"index.html", "index-4f2a.js"}


def test_a_hashed_file_is_kept_for_ever_and_the_page_is_asked_for_each_time(folder: Path) -> None:
    kept = {name: file.cache for name, file in files(folder).items()}
    assert kept["index.html"] == "no-cache"
    assert "immutable" in kept["index-4f2a.js"]


def test_a_file_is_the_same_compressed_or_not(folder: Path) -> None:
    file = files(folder)["index-4f2a.js"]
    plain = file.answer(asking("br"), {"content-security-policy": POLICY}).to_gateway("r")
    small = file.answer(asking("gzip, br"), {"content-security-policy": POLICY}).to_gateway("r")
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
