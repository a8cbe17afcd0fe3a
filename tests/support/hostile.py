"""Texts as a node, an engine or another user may write them, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

ESCAPES = (
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[31m",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x9b2J",  # the same as ESC [, as one character
    "[link=https://evil.example]click[/link]",
    "[/bold]x",
    "[red]",
    "\u202egnp.exe",
    "\u2066\u2069\u061c",
    "\ud800",
    "\udfff",
    "\r\n",
    "\x00",
    "\u2028",
)
ANY_CHARACTER = st.characters(categories=None)  # halves of surrogate pairs among them


def hostile_texts(max_size: int = 2_000) -> st.SearchStrategy[str]:
    """Any text; many have parts that steer a terminal, are markup, or cannot be encoded."""
    parts = st.sampled_from(ESCAPES) | st.text(ANY_CHARACTER, max_size=8)
    short = st.lists(parts, max_size=6).map("".join)
    long = st.builds(lambda text: (text or "x") * max_size, parts).map(lambda t: t[:max_size])
    return short | long
