"""The answers of the routes with which the console signs in.

They are for the console alone and no part of the OpenAPI document: only pages of the service's own
origin may use them.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from comfyline.contract.v1.access import Caller
from comfyline.contract.v1.common import Response


class SessionView(Response):
    """A new session. Its secret is in the cookie that comes with the answer."""

    caller: Caller = Field(description="Who is signed in, and what the session may do.")
    expires_at: datetime = Field(description="When it ends, if it is not ended earlier.")


class BearerView(Response):
    """A bearer: a token for all that the session may do."""

    token: str = Field(description="Send it in place of a key: `Authorization: Bearer <token>`.")
    caller: Caller = Field(description="Who is signed in, and what the session may do.")
    expires_in: int = Field(description="For how many seconds it is valid.")
    session_expires_at: datetime = Field(description="When the session ends.")


class LinkView(Response):
    """A link that signs in once, without a key."""

    code: str = Field(description="What follows `/console#/sign-in?code=` in the link.")
    expires_at: datetime = Field(description="When it stops working.")


class IssuerView(Response):
    """An OpenID Connect issuer at which people sign in."""

    issuer: str = Field(description="Its name, as its tokens have it.")
    client_id: str = Field(description="The console's client there.")
    scope: str = Field(description="The OAuth scopes to ask for.")
    authorization_endpoint: str = Field(description="Where a page sends a person.")
    token_endpoint: str = Field(description="Where a page exchanges the code.")


class SignInView(Response):
    """How people can sign in beside an API key."""

    issuer: IssuerView | None = Field(default=None, description="Null if keys are the only way.")
