"""Requests and sockets of tests: as patient as their other waits, and past any proxy.

httpx itself gives up after 5 s and websockets after 10 s, which a busy machine exceeds.
"""

from __future__ import annotations

from functools import partial

import httpx
from websockets.sync.client import connect as _connect

from tests.support.eventually import WITHIN

get = partial(httpx.get, trust_env=False, timeout=WITHIN)
head = partial(httpx.head, trust_env=False, timeout=WITHIN)
options = partial(httpx.options, trust_env=False, timeout=WITHIN)
post = partial(httpx.post, trust_env=False, timeout=WITHIN)
put = partial(httpx.put, trust_env=False, timeout=WITHIN)
delete = partial(httpx.delete, trust_env=False, timeout=WITHIN)
Client = partial(httpx.Client, trust_env=False, timeout=WITHIN)
AsyncClient = partial(httpx.AsyncClient, trust_env=False, timeout=WITHIN)
connect = partial(_connect, proxy=None, open_timeout=WITHIN, close_timeout=1)
