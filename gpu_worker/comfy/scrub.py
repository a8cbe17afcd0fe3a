"""Remove the server's paths from texts that callers see, and name files as callers do."""

from __future__ import annotations

import re

from comfyline.contract.ids import UPLOAD_ID_PATTERN
from gpu_worker.comfy.outputs import FOLDERS

# `<upload id><suffix>` in the input folder is what the caller knows as `upload:<upload id>`.
_UPLOAD = re.compile(rf"(?:upload:)?({UPLOAD_ID_PATTERN.strip('^$')})(?:\.\w{{1,10}})?")
_FOLDER = "|".join(FOLDERS)
# An absolute path of two parts or more, but not the path of a URL. Only its last part is shown.
_PATH = re.compile(r"(?<![\w.:/\\~-])/(?:[^\s/'\"`<>|:,;()\[\]{}]+/)+")
_PATH_WITH_SPACES = re.compile(r"(?<=['\"])/(?:[^/'\"\n]+/)+")


def without_server_paths(text: str, base: str | None) -> str:
    """The text with the names of files only; `base` holds the engine's three folders."""
    if base is not None:
        text = re.sub(rf"{re.escape(base)}/(?:(?:{_FOLDER})(?:/|\b))?", "", text)
    text = _PATH.sub("", _PATH_WITH_SPACES.sub("", text))
    return _UPLOAD.sub(r"upload:\1", text)
