"""Addresses as a deployment file writes them, and as browsers do."""

from __future__ import annotations

import pytest

from functions._addresses import origin_of


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://comfy.example.com", "https://comfy.example.com"),
        ("https://Comfy.Example.COM/base/path", "https://comfy.example.com"),
        ("https://comfy.example.com:443", "https://comfy.example.com"),
        ("http://127.0.0.1:80/x", "http://127.0.0.1"),
        ("https://comfy.example.com:80", "https://comfy.example.com:80"),
        ("http://[::1]:8443", "http://[::1]:8443"),
        ("wss://A.example.com/live", "wss://a.example.com"),
        ("", ""),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin
