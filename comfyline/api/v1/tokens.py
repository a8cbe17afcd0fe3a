"""Make a command of a request for a token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from comfyline.api.v1.parsing import parsed
from comfyline.contract.ids import UserId
from comfyline.contract.v1.requests import TokenRequest
from comfyline.service.access.tokens import NewToken


def new_token(sent: Any) -> NewToken:
    """The token that the body asks for.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    form = parsed(TokenRequest, sent)
    return NewToken(
        user=UserId(form.user),
        scopes=frozenset(form.scopes),
        lifetime=timedelta(seconds=form.expires_in),
        max_jobs=form.max_jobs,
    )
