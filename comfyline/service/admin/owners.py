"""What an operator sees of owners: their keys, what they use now, and what they have used."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from comfyline.contract.ids import OwnerId
from comfyline.service.access.keys import ApiKey, KeyStore
from comfyline.service.access.slots import Occupancy, OwnerStore
from comfyline.service.clock import Clock
from comfyline.service.ledger.store import Ledger, Usage


@dataclass(frozen=True, slots=True)
class OwnerRecord:
    """One owner that has keys."""

    owner: OwnerId
    keys: Sequence[ApiKey]  # oldest first, also those that have ended
    occupancy: Occupancy
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerReader:
    """Reads owners in pages, by name."""

    keys: KeyStore
    ledger: Ledger
    owners: OwnerStore
    clock: Clock

    def page(self, limit: int, after: str | None) -> tuple[list[OwnerRecord], str | None]:
        """Up to `limit` owners after that name, and the name to continue after; None at the end.

        The names cost as much as there are keys, and each owner of the page four calls.
        """
        names = self.keys.owners()
        start = bisect_right(names, after) if after is not None else 0
        shown = names[start : start + limit]
        more = shown[-1] if start + limit < len(names) else None
        return [self._record(owner) for owner in shown], more

    def _record(self, owner: OwnerId) -> OwnerRecord:
        return OwnerRecord(
            owner=owner,
            keys=self.keys.of_owner(owner),
            occupancy=self.owners.occupancy(owner, self.clock()),
            usage=self.ledger.usage(owner),
        )
