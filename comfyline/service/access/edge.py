"""Requests that have come through the edge, the distribution in front of the APIs.

The distribution adds a secret header to each request, and replaces a header of that name that a
caller has sent. A request without the secret has gone round the distribution and what protects it.
"""

from __future__ import annotations

import hmac

HEADER = "x-comfyline-edge"  # in lower case


def came_through(given: str | None, secrets: str | None) -> bool:
    """Whether the header's value is one of the secrets, which commas separate.

    Two are accepted at once while the distribution changes from one to the next. None: the
    deployment has no edge, or does not require it, and every request is accepted. Where there is no
    secret but there should be one, no request is.
    """
    if secrets is None:
        return True
    sent, known = (given or "").encode(), filter(None, secrets.split(","))
    return any(hmac.compare_digest(sent, secret.encode()) for secret in known)
