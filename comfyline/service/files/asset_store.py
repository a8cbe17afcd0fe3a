"""The record of an asset, and where records are kept; `assets.py` says what an asset is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from comfyline.contract.ids import Principal, UploadId
from comfyline.service.files.uploads import UPLOAD_LIFETIME, upload_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file of an owner or of a user. `stored_at`: when its bytes were stored last."""

    id: UploadId
    principal: Principal
    hash: str  # "blake3:<hexadecimal>"
    size_bytes: int
    content_type: str
    file_path: str
    created_at: datetime
    stored_at: datetime
    is_claim: bool = False  # announced; whether the bytes are there and have the hash is not known

    @property
    def key(self) -> str:
        """Where the bytes are."""
        return upload_key(self.principal, self.id)

    @property
    def expires_at(self) -> datetime:
        """When the record and the bytes are removed."""
        return self.stored_at + UPLOAD_LIFETIME


class AssetStore(Protocol):
    """The records of assets. Every read sees all earlier writes."""

    def put(self, asset: Asset, *, replaces: datetime | None = None) -> Asset | None:
        """Store a record under its id, its hash and its name, in one step.

        Only if there is no record of the id, or if it was stored at `replaces`. Returns None, or
        the record that is in the way.
        """

    def get(self, caller: Principal, asset_id: UploadId) -> Asset | None:
        """The caller's record of that id, claims included."""

    def with_hash(self, caller: Principal, hash_: str) -> Sequence[Asset]:
        """The caller's records of that hash, claims included, in any order."""

    def with_name(self, caller: Principal, file_path: str) -> Sequence[Asset]:
        """The caller's records of that name, claims included, in any order."""

    def delete(self, asset: Asset) -> None:
        """Remove the record. Does nothing if it is gone."""
