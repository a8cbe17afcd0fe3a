"""Wake the scaler when jobs arrive, so that an idle fleet does not wait for the next round.

This is best effort, because the scaler's own round finds every job once a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyline.service.clock import Clock
from comfyline.service.fleet.scale import ROUND, last_need
from comfyline.service.fleet.workers import ScalingMemory

MAX_AGE = timedelta(seconds=60)  # a round of the scaler has already found an older job
WAKE_INTERVAL = timedelta(seconds=5)  # jobs that arrive together wake the scaler once

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class ScalerWake:
    """Calls the scaler. All processes together call it at most once in WAKE_INTERVAL."""

    memory: ScalingMemory
    call_scaler: Callable[[int], object]  # with the number of jobs; does not wait for the scaler
    clock: Clock
    _quiet_until: datetime | None = None  # until then, this process ignores arrivals

    def jobs_arrived(self, queued_at: Sequence[datetime]) -> bool:
        """Call the scaler if one of the new jobs is younger than MAX_AGE.

        `queued_at` has the time of each new job. Returns whether the scaler was called. While the
        fleet has work, a process reads one row in two minutes and calls nothing.
        """
        now = self.clock()
        fresh = sum(now - time <= MAX_AGE for time in queued_at)
        if not fresh or (self._quiet_until is not None and now < self._quiet_until):
            return False
        self._quiet_until = now + WAKE_INTERVAL
        try:
            awake_until = last_need(self.memory.load()) + ROUND
            if awake_until > now:
                self._quiet_until = awake_until
                return False
            if not self.memory.may_wake(now, WAKE_INTERVAL):
                return False
            self.call_scaler(fresh)
        except Exception:  # noqa: BLE001 the scaler's next round makes up for any error
            _log.warning("scaler not woken", exc_info=True, extra={"action": "scaler_not_woken"})
            return False
        return True
