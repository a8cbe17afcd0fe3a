"""Show a text of another person in a terminal: a node's message, or the name of a file."""

from __future__ import annotations

import re

# Characters that steer a terminal or change the direction of text, separators of lines, and halves
# of surrogate pairs, which no output can encode. For use inside [] of a regular expression.
UNSAFE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"

_BREAKS = re.compile(r"[\t\n\r]+")
_UNSAFE = re.compile(f"[{UNSAFE}]")


def clean(text: str) -> str:
    """The text on one line, with `?` in place of each unsafe character.

    Brackets stay as they are, so do not print the text where brackets are markup.
    """
    return _UNSAFE.sub("?", _BREAKS.sub(" ", text))
