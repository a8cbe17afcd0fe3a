"""Replace the part of a page that is generated, between two comments that mark it."""

from __future__ import annotations


def replaced(page: str, begin: str, text: str, end: str) -> str:
    """The page with this text between its two markers.

    Raises:
        ValueError: the page lacks a marker, or has it twice.
    """
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
