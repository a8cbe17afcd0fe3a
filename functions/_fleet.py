"""The use cases about the GPU workers, assembled from their adapters."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

from comfyline.service import settings as of
from comfyline.service.clock import Clock
from functions._aws import Aws

if TYPE_CHECKING:
    from comfyline.service.fleet.scale import Scaler
    from comfyline.service.fleet.wake import ScalerWake


class Fleet:
    """The scaler and the calls to it: used as `Wiring.fleet`."""

    def __init__(self, aws: Aws, clock: Clock) -> None:
        self.aws = aws
        self.clock = clock

    @cached_property
    def scaler(self) -> Scaler:
        """Resizes the fleet."""
        from comfyline.service.fleet.scale import Scaler
        from comfyline.service.fleet.scaling import ScalingPolicy

        section = self.aws.settings(of.ScalerSettings).scaling
        return Scaler(
            backlog=self.aws.backlog,
            fleet=self.aws.fleet,
            presence=self.aws.presence,
            memory=self.aws.scaling_memory,
            policy=ScalingPolicy(**json.loads(section)),
            clock=self.clock,
        )

    @cached_property
    def wake(self) -> ScalerWake | None:
        """Calls the scaler for new jobs; None if this deployment has no scaler."""
        from comfyline.service.fleet.wake import ScalerWake

        if (scaler := self.aws.scaler) is None:
            return None
        return ScalerWake(
            memory=self.aws.scaling_memory, call_scaler=scaler.jobs_arrived, clock=self.clock
        )
