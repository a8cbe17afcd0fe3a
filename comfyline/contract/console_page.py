"""The headers of the console's files, as functions/show_console.py and CloudFront send them."""

from __future__ import annotations

from collections.abc import Iterable

PAGE = "index.html"  # its name among the files that are built
FOR_A_YEAR, ASK_EACH_TIME = "public, max-age=31536000, immutable", "no-cache"
COMMON = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}


def page_policy(origins: Iterable[str], issuers: Iterable[str] = ()) -> str:
    """The Content-Security-Policy of the page; `origins` are those of files and of sockets.

    The page may load scripts and styles of its own origin only. It shows and sends files at the
    origin of the bucket, and opens sockets at the origin of the WebSocket API.
    """
    others = " ".join(origins)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            " ".join(("connect-src 'self'", others, *issuers)),
            f"img-src 'self' data: blob: {others}",
            f"media-src blob: {others}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    )
