"""Budgets: how much an owner may ask for in a minute or a day, beside the jobs that slots count.

    call ──> counted in this process ──> at each hundredth of the limit: one conditional write
                                           └─ refused: this process refuses until the window ends

So ordinary callers cost no write, and a busy one costs a write for each hundredth of its limit. The
price is exactness: an owner may exceed a limit by a hundredth of it for each process that serves
the owner. A limit below 200 is exact.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from comfyline.contract.ids import OwnerId, Principal, User, owner_of, qualified
from comfyline.service.clock import Clock
from comfyline.service.errors import TooManyRequests, Unavailable

if TYPE_CHECKING:
    from comfyline.service.access.slots import Limits

MINUTE, DAY = 60, 24 * 3600
UNCOUNTED_SHARE = 100  # of a limit: what each process may serve before it counts in the store
MAX_REMEMBERED = 1_000  # owners and budgets; those of earlier windows are forgotten beyond it
GB = 10**9

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Budget:
    """A counted amount: its name, its default limit, and the length of a window.

    `setting` is the field of `Limits` that replaces the limit; empty: no key can.
    """

    name: str  # part of the contract: a refusal names its budget
    limit: int
    window: int  # seconds; windows begin at multiples of it since 1970
    unit: str
    setting: str = ""


# A deployment says how many: the half of what it accepts of all callers.
REQUESTS = Budget("requests", 6_000, MINUTE, "requests", "requests_per_minute")
UPLOADS = Budget("uploads", 600, MINUTE, "upload forms", "uploads_per_minute")
# Uploads are kept for nine days, so one owner stores 900 GB at most.
UPLOAD_BYTES = Budget("upload_bytes", 100 * GB, DAY, "bytes of upload forms", "upload_gb_per_day")
SOCKET_PASSES = Budget("socket_passes", 6_000, MINUTE, "socket passes", "sockets_per_minute")
# After a restart of the gateway, all clients of an owner connect again within about a minute.
SOCKETS = Budget("sockets", 6_000, MINUTE, "sockets opened", "sockets_per_minute")
# The gateway accepts as many messages a second as requests.
MESSAGES = Budget("messages", 6_000, MINUTE, "messages on sockets")

# A page asks for a token when it is opened, and again at most every few minutes.
TOKENS = Budget("tokens", 6_000, MINUTE, "tokens")

# A key that has leaked must not fill the table of keys.
NEW_KEYS = Budget("keys", 100, DAY, "new keys")

BUDGETS = (REQUESTS, UPLOADS, UPLOAD_BYTES, SOCKET_PASSES, SOCKETS, MESSAGES, TOKENS, NEW_KEYS)

# The names of limits that are not counted by window, in refusals.
ACTIVE_JOBS, POSTS, OPEN_SOCKETS = "active_jobs", "posts", "open_sockets"
# Open sockets of a key. Each costs the sweeper a part of a read in each round.
MAX_OPEN_SOCKETS = 10_000
# One user of an owner may take the tenth part of the owner's budgets, so that a page that runs wild
# does not stop the others.
USER_SHARES = 10
# One owner may take the fourth part of the places for waiting posts.
WAIT_SHARES = 4


def limit_of(budget: Budget, limits: Limits, requests: int = REQUESTS.limit) -> int:
    """The limit of an owner, from the limits of its key.

    `requests` is the limit of requests if the key sets none.
    """
    if budget is UPLOAD_BYTES and limits.upload_gb_per_day is not None:
        return limits.upload_gb_per_day * GB
    chosen: int | None = getattr(limits, budget.setting) if budget.setting else None
    if chosen is not None:
        return chosen
    if budget is REQUESTS and limits.jobs_per_minute is not None:
        return max(requests, 2 * limits.jobs_per_minute)  # each job is posted and read
    return requests if budget is REQUESTS else budget.limit


def open_sockets_of(limits: Limits) -> int:
    """How many sockets a key with these limits may have open."""
    return MAX_OPEN_SOCKETS if limits.max_sockets is None else limits.max_sockets


def wait_share(max_waits: int, limits: Limits) -> int:
    """How many posts of an owner may wait at once, of `max_waits` of all owners; at least 1."""
    chosen = limits.max_waits
    return max(1, max_waits // WAIT_SHARES) if chosen is None else chosen


class BudgetStore(Protocol):
    """Counts what owners have used of their budgets, for all processes together."""

    def spend(self, owner: OwnerId, budget: Budget, amount: int, limit: int, now: datetime) -> bool:
        """Add to what the owner has used in the window of `now`; False if it would exceed `limit`.

        Nothing is added then. Clocks differ, so a call never goes back to an earlier window than
        that of another call.
        """


@dataclass(slots=True)
class _Count:
    window: int
    uncounted: int = 0  # not in the store yet
    is_over: bool = False


class Budgets:
    """Counts the calls of one process. Not safe for several threads: a function has one."""

    def __init__(
        self, store: Callable[[], BudgetStore], clock: Clock, requests: int = REQUESTS.limit
    ) -> None:
        """`store` is called only when something is to be counted there."""
        self._store, self._clock, self._requests = store, clock, requests
        self._counts: dict[tuple[OwnerId, str], _Count] = {}

    def spend(self, caller: Principal, budget: Budget, limits: Limits, amount: int = 1) -> None:
        """Count `amount` of what the owner asks for; of a user first what the user asks for.

        While the store is out of reach, nothing is refused.

        Raises:
            TooManyRequests: it exceeds the budget; the error says for how long.
        """
        limit = limit_of(budget, limits, self._requests)
        if isinstance(caller, User):
            # No owner has a name like that, so no owner counts there.
            self._spend(OwnerId(qualified(caller)), budget, max(1, limit // USER_SHARES), amount)
        self._spend(owner_of(caller), budget, limit, amount)

    def _spend(self, owner: OwnerId, budget: Budget, limit: int, amount: int) -> None:
        now = self._clock()
        count = self._count(owner, budget, now)
        total = count.uncounted + amount
        is_allowed = not count.is_over
        if is_allowed and total >= max(1, limit // UNCOUNTED_SHARE):
            is_allowed = self._is_stored(owner, budget, total, limit, now)
            # Where not even one fits, nothing does. A smaller file may.
            count.is_over, total = not is_allowed and amount == 1, 0 if is_allowed else total
        if not is_allowed:
            extra = {"action": "over_budget", "owner": owner, "budget": budget.name}
            _log.info("over budget", extra=extra)
            left = budget.window - int(now.timestamp()) % budget.window
            raise TooManyRequests(_detail(budget, limit), left, budget.name)
        count.uncounted = total

    def _count(self, owner: OwnerId, budget: Budget, now: datetime) -> _Count:
        key, window = (owner, budget.name), window_of(budget, now)
        count = self._counts.get(key)
        if count is None or count.window != window:
            if len(self._counts) >= MAX_REMEMBERED:
                self._counts.clear()  # each forgets less than a hundredth of a limit
            count = self._counts[key] = _Count(window)
        return count

    def _is_stored(
        self, owner: OwnerId, budget: Budget, amount: int, limit: int, now: datetime
    ) -> bool:
        try:
            return self._store().spend(owner, budget, amount, limit, now)
        except Unavailable:
            _log.warning(
                "budget not counted", exc_info=True, extra={"action": "budget_not_counted"}
            )
            return True


def window_of(budget: Budget, now: datetime) -> int:
    """The number of the window that `now` is in."""
    return int(now.timestamp()) // budget.window


def _detail(budget: Budget, limit: int) -> str:
    span = "minute" if budget.window == MINUTE else "day"
    return f"The limit is {limit:,} {budget.unit} per {span}."
