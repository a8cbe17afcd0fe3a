"""A browser that is signed in, for the tests of sessions."""

from __future__ import annotations

import pytest

from comfyline.contract.ids import OwnerId
from comfyline.service.access.authenticate import create_key
from comfyline.service.access.slots import Limits
from tests.integration.http_api.browser import (
    Browser,
    Held,
)
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway


@pytest.fixture
def held(gateway: Gateway, clock: FrozenClock) -> Held:
    """A key, and what its holder has of it."""
    key, text = create_key(
        OwnerId("acme"),
        scopes=["jobs", "admin"],
        expires_at=None,
        limits=Limits(max_active_jobs=2),
        keys=gateway.aws.keys,
        clock=clock,
    )
    return Held(key, text)


@pytest.fixture
def browser(gateway: Gateway) -> Browser:
    return Browser(gateway)


@pytest.fixture
def signed_in(browser: Browser, held: Held) -> Browser:
    assert browser.sign_in(held.text).status == 201
    return browser
