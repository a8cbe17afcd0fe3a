"""The owners table: check slots, counters, sums, notes and places alone, and note them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from comfyline.adapters.aws.access.semaphore import end_of
from comfyline.adapters.aws.access.slots import slot_of, slots_shard
from comfyline.adapters.aws.attributes import Item
from comfyline.adapters.aws.files.assets import asset_of
from comfyline.adapters.aws.ledger.failures import PARTS as PARTS_OF_GROUP
from comfyline.adapters.aws.ledger.failures import group_of, is_group
from comfyline.adapters.aws.ledger.table import PARTS, months_of, numbers_of, usage_of
from comfyline.contract.ids import USER_PATTERN, OwnerId
from comfyline.contract.limits import MAX_TOKEN_JOBS
from comfyline.operate.audit.findings import Finding, Fix
from comfyline.operate.audit.index import Index
from comfyline.operate.audit.source import Source, Table, Terms, micro, name_of, ttl_in
from comfyline.service.access.authenticate import OWNER_PATTERN
from comfyline.service.access.budgets import BUDGETS, window_of
from comfyline.service.access.slots import MAX_ACTIVE_JOBS, MAX_PARTS, minute_of
from comfyline.service.jobs.invariants import CLOCK_SKEW
from comfyline.service.ledger.failures import BUCKETS, KINDS_PER_BUCKET
from comfyline.service.ledger.months import month_of
from comfyline.service.ledger.store import Usage

# A place is held for a minute by a wait, and for the length of a round by the sweeper.
LONGEST_PLACE = timedelta(minutes=16)
_BUDGETS = {budget.name: budget for budget in BUDGETS}
# What an owner has used, or one user of it; see `qualified`.
_COUNTED = re.compile(rf"{OWNER_PATTERN}|user:[0-9]+:{OWNER_PATTERN}:{USER_PATTERN.strip('^$')}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ROUNDING = 0.001  # seconds of each addition: GPU time is in milliseconds
_SEMAPHORES = ("waits", "sweep")


class Owners:
    """Checks the owners table."""

    def __init__(self, source: Source, index: Index, terms: Terms) -> None:
        self._source, self._index, self._terms = source, index, terms

    def findings(self) -> Iterator[Finding]:
        """Read the table, fill the index, and check every item alone."""
        for item in self._source.items(Table.OWNERS):
            try:
                yield from self._of_item(item)
            except Exception as error:  # noqa: BLE001 one damaged item must not hide the others
                yield Finding("owner", name_of(item), f"cannot be read: {error!r:.200}")

    def _of_item(self, item: Item) -> Iterator[Finding]:
        kind, _, rest = item["pk"]["S"].partition("#")
        if kind == "slots":
            return self._of_slots(item)
        if kind == "counted":
            return self._of_note(item, rest)
        if kind in ("usage", "totals"):
            # Older code kept the sums of an owner and those of the service in rows of their own.
            owner, _, part = item["sk"]["S"].rpartition("#")
            return self._of_sums(item, rest or owner, int(part))
        if kind == "errors":
            return self._of_failures(item, rest)
        if kind == "budget":
            return self._of_budget(item, rest)
        if kind == "semaphore":
            return self._of_places(item)
        if kind == "token":
            return self._of_allowance(item, rest)
        if kind == "assets":
            return self._of_asset(item)
        raise LookupError("no part of the service uses this name")

    def _of_asset(self, item: Item) -> Iterator[Finding]:
        asset = asset_of(item)
        if self._terms.is_never_removed(ttl_in(item)):
            text = "has no TTL, or DynamoDB should have deleted it"
            yield Finding("asset", name_of(item), text)
        if asset.stored_at > self._terms.clock() + CLOCK_SKEW:
            yield Finding("asset", name_of(item), "was stored in the future")

    # --- slots ------------------------------------------------------------------------------------

    def _of_slots(self, item: Item) -> Iterator[Finding]:
        owner, kind, *rest = item["sk"]["S"].split("#")
        if item["pk"] != slots_shard(OwnerId(owner)):
            yield Finding("slot", name_of(item), "is in the wrong shard, where no request looks")
        if kind == "slot":
            yield from self._of_slot(item)
        elif kind == "part":
            yield from self._of_part(item, owner, int(rest[0]), int(item["n"]["N"]))
        elif kind == "rate":
            yield from self._of_rate(item)
        else:
            raise LookupError("no part of the service uses this name")

    def _of_slot(self, item: Item) -> Iterator[Finding]:
        owner, slot = slot_of(item)
        part = int(item["part"]["N"])
        if slot.queued_at > self._terms.clock() + CLOCK_SKEW:
            yield Finding("slot", name_of(item), "was taken in the future")
        self._index.add(
            "slots", owner=owner, job_id=slot.job_id, queued_at=micro(slot.queued_at), part=part
        )

    def _of_part(self, item: Item, owner: str, part: int, n: int) -> Iterator[Finding]:
        self._index.add("parts", owner=owner, part=part, n=n)
        if not (0 <= n <= MAX_ACTIVE_JOBS and 0 <= part < MAX_PARTS):
            yield Finding("slot", name_of(item), f"counts {n} slots in part {part}")

    def _of_rate(self, item: Item) -> Iterator[Finding]:
        minute, posts = int(item["minute"]["N"]), int(item["posts"]["N"])
        if minute > minute_of(self._terms.clock() + CLOCK_SKEW) or posts < 0:
            yield Finding("rate", name_of(item), f"counts {posts} posts in minute {minute}")

    def _of_budget(self, item: Item, owner: str) -> Iterator[Finding]:
        budget = _BUDGETS[item["sk"]["S"]]
        window, used = int(item["window"]["N"]), int(item["used"]["N"])
        latest = window_of(budget, self._terms.clock() + CLOCK_SKEW)
        if window > latest or used < 0 or not _COUNTED.fullmatch(owner):
            yield Finding("budget", name_of(item), f"counts {used} in window {window}")
        if self._terms.is_never_removed(ttl_in(item)):
            text = "has no TTL, or DynamoDB should have deleted it"
            yield Finding("budget", name_of(item), text)

    def _of_allowance(self, item: Item, token: str) -> Iterator[Finding]:
        made = item["jobs"]["SS"]
        is_named = _SHA256.fullmatch(token) and item["sk"]["S"] == "jobs"
        if not is_named or len(made) > MAX_TOKEN_JOBS:
            yield Finding("token", name_of(item), f"has made {len(made)} jobs")
        if self._terms.is_never_removed(ttl_in(item)):
            text = "has no TTL, or DynamoDB should have deleted it"
            yield Finding("token", name_of(item), text)

    # --- the ledger -------------------------------------------------------------------------------

    def _of_note(self, item: Item, job_id: str) -> Iterator[Finding]:
        incarnation = item["sk"]["S"].removeprefix("counted#")
        ends_at = ttl_in(item)
        if self._terms.is_never_removed(ends_at):
            text = "has no TTL, or DynamoDB should have deleted it"
            yield Finding("ledger", name_of(item), text)
        queued_at = int(incarnation, 16)
        self._index.add(
            "notes",
            job_id=job_id,
            queued_at=queued_at,
            ends_at=micro(ends_at),
            month=item.get("month", {}).get("S"),
            failure=item.get("group", {}).get("S"),
        )

    def _of_sums(self, item: Item, owner: str, part: int) -> Iterator[Finding]:
        sums = numbers_of(item)
        if not 0 <= part < PARTS:
            raise LookupError("no part of the service uses this name")
        if any(value < 0 for value in sums.values()):
            yield Finding("ledger", name_of(item), "holds a negative sum")
        if owner:
            usage = usage_of(sums)
            used, jobs = usage.gpu_seconds, usage.jobs
            self._index.add("usage", owner=owner, row=name_of(item), gpu_seconds=used, jobs=jobs)
            yield from self._of_months(item, owner, sums, usage)

    def _of_months(
        self, item: Item, owner: str, sums: Mapping[str, float], usage: Usage
    ) -> Iterator[Finding]:
        """In DynamoDB one write adds to a month and to the sums, so no month is ahead of them."""
        months, row = months_of(sums), name_of(item)
        seconds, jobs = (
            sum(getattr(m, n) for m in months.values()) for n in ("gpu_seconds", "jobs")
        )
        if seconds > usage.gpu_seconds + _ROUNDING * (1 + jobs) or jobs > usage.jobs:
            text = (
                f"has used {seconds:.3f} s of GPU in its months, in all {usage.gpu_seconds:.3f} s"
            )
            yield Finding("ledger", row, text)
        if max(months, default="") > month_of(self._terms.clock() + CLOCK_SKEW):
            yield Finding("ledger", row, f"has used a GPU in {max(months)}, which is in the future")
        for month, used in months.items():
            values = {"month": month, "gpu_seconds": used.gpu_seconds, "jobs": used.jobs}
            self._index.add("months", owner=owner, row=row, **values)

    def _of_failures(self, item: Item, day: str) -> Iterator[Finding]:
        if self._terms.is_never_removed(ttl_in(item)):
            text = "has no TTL, or DynamoDB should have deleted it"
            yield Finding("failures", name_of(item), text)
        if not is_group(item):
            bucket, kinds = int(item["sk"]["S"].removeprefix("kinds#")), item["kinds"]["SS"]
            if not 0 <= bucket < BUCKETS or len(kinds) > KINDS_PER_BUCKET:
                yield Finding("failures", name_of(item), f"has {len(kinds)} kinds")
            return
        group = group_of(item)
        kind, _, part = item["sk"]["S"].partition("#")
        if kind != group.kind.id or not 0 <= int(part) < PARTS_OF_GROUP or group.jobs < 1:
            yield Finding("failures", name_of(item), f"counts {group.jobs} jobs of another kind")
        if date.fromisoformat(day) > (self._terms.clock() + CLOCK_SKEW).date():
            yield Finding("failures", name_of(item), "is of a day in the future")
        self._index.add("failures", failure=f"{day} {kind}", row=name_of(item), jobs=group.jobs)

    # --- places -----------------------------------------------------------------------------------

    def _of_places(self, item: Item) -> Iterator[Finding]:
        name = item["sk"]["S"]
        if name not in _SEMAPHORES:
            raise LookupError("no part of the service uses this name")
        for place, until in item["places"]["M"].items():
            yield from self._of_place(name, place, until)

    def _of_place(self, name: str, place: str, until: Any) -> Iterator[Finding]:
        subject = f"{name} {place}"
        try:
            ends_at = end_of(until)
        except Exception:  # noqa: BLE001 whatever it holds
            yield Finding("place", subject, "has no time at which it is free again")
            return
        now = self._terms.clock()
        if ends_at > now + LONGEST_PLACE + CLOCK_SKEW:
            yield Finding("place", subject, "is taken for longer than any function runs")
        elif ends_at < self._terms.settled:
            text = "is over, and is freed when the room is full"
            held = f"{place} {until.get('S', '')}"
            yield Finding("place", subject, text, True, Fix.LEAVE_PLACE, (name, held))
