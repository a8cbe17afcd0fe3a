"""Bodies that are compressed here, because API Gateway's HTTP APIs compress nothing."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass

from functions._http import Answer
from functions._request import Request


@dataclass(frozen=True, slots=True)
class Compressed:
    """A text, compressed with gzip. `cache`: for how long a client may keep it."""

    compressed: bytes
    media_type: str
    cache: str

    def answer(self, request: Request, security: Mapping[str, str]) -> Answer:
        """200 with the text in the encoding that the client accepts, and with these headers.

        The answer to HEAD is the same, without the text.
        """
        headers = {
            "content-type": self.media_type,
            "cache-control": self.cache,
            "vary": "accept-encoding",
            **security,
        }
        is_small = "gzip" in (request.header("accept-encoding") or "")
        if is_small:
            headers["content-encoding"] = "gzip"
        if request.method == "HEAD":
            return Answer("", headers=headers)
        return Answer(
            self.compressed if is_small else gzip.decompress(self.compressed), headers=headers
        )
