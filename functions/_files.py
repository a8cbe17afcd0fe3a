"""The use cases about files, assembled from their adapters."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from comfyline.service.clock import Clock
from functions._aws import Aws

if TYPE_CHECKING:
    from comfyline.contract.ids import Principal
    from comfyline.service.files.assets import Assets
    from comfyline.service.files.offer_upload import NewUpload, Offer


class Files:
    """Uploads and assets: used as `Wiring.files`."""

    def __init__(self, aws: Aws, clock: Clock) -> None:
        self.aws = aws
        self.clock = clock

    def offer_upload(self, asked: NewUpload, caller: Principal) -> Offer:
        """A form that a client uploads a file with."""
        from comfyline.service.files.offer_upload import offer_upload

        return offer_upload(asked, caller, uploads=self.aws.uploads, clock=self.clock)

    @cached_property
    def assets(self) -> Assets:
        """Keeps files under names and hashes."""
        from comfyline.service.files.assets import Assets

        return Assets(store=self.aws.assets, uploads=self.aws.uploads, clock=self.clock)
