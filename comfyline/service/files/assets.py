"""Assets: files that a caller keeps under a name, known by the BLAKE3 hash of their bytes.

The bytes of an asset are an upload, and the asset's id is the upload's. The id follows from caller,
hash and name, so the same file under the same name is the same asset, however often and by how many
processes it is sent. One conditional write decides which of them has made it.

    upload the bytes ──> put the records          a crash in between leaves only bytes, which are
                                                  removed by themselves and overwritten by the next

A caller, which is an owner or a user of one, finds only its own assets: a hash that another one has
sent is unknown to it.

A claim is a file that the caller has announced with its hash and sends to the store by a form. The
hash is verified when it is first used; until then it is nothing but a hint that saves an upload.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO

from comfyline.contract.ids import UPLOAD_ID_PATTERN, Principal, UploadId, asset_id
from comfyline.service.clock import Clock
from comfyline.service.errors import AssetNotFound, BlobNotFound, HashMismatch, InvalidRequest
from comfyline.service.files.asset_store import Asset, AssetStore
from comfyline.service.files.offer_upload import NewUpload
from comfyline.service.files.uploads import UploadStore

# An asset that is used when it is older than this gets new bytes, so that what a caller names lives
# long enough for a job with the longest start deadline and execution timeout.
RENEW_AFTER = timedelta(hours=12)
HASH_PREFIX = "blake3:"
_ID = re.compile(UPLOAD_ID_PATTERN)
_HASH = re.compile(r"blake3:[0-9a-f]{64}")
MAX_FILE_PATH = 255  # characters
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

Read = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAsset:
    """A file that a caller sends. `expected_hash`: what the caller has computed, if it has."""

    file_path: str
    content_type: str
    body: bytes = field(repr=False)
    expected_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """Keeps the assets of owners and users."""

    store: AssetStore
    uploads: UploadStore
    clock: Clock

    def keep(self, sent: NewAsset, caller: Principal) -> tuple[Asset, bool]:
        """Store a file; returns its asset, and whether this call has made it.

        Raises:
            InvalidRequest: the name or the expected hash is malformed.
            HashMismatch: the bytes do not have the expected hash; nothing was stored.
            Unavailable: the stores are out of reach.
        """
        check_file_path(sent.file_path)
        found = hash_of(BytesIO(sent.body))
        if sent.expected_hash is not None and checked_hash(sent.expected_hash) != found:
            raise HashMismatch(f"The bytes have the hash {found}, not {sent.expected_hash}.")
        asset = self._new(caller, found, sent.file_path, len(sent.body), sent.content_type)
        if existing := self._kept(asset.id, caller):
            return existing, False
        self.uploads.put(
            asset.key, BytesIO(sent.body), name=asset.file_path, content_type=asset.content_type
        )
        return self._put(asset)

    def from_hash(
        self, hash_: str, file_path: str | None, caller: Principal, spend: Callable[[int], None]
    ) -> tuple[Asset, bool]:
        """An asset over bytes that the caller has sent before; and whether this call has made it.

        `spend` counts the bytes before they are copied, and may refuse.

        Raises:
            InvalidRequest: the hash or the name is malformed.
            BlobNotFound: the caller has not sent these bytes, or they are removed.
            Unavailable: the stores are out of reach.
        """
        source = self._source(checked_hash(hash_), caller)
        name = source.file_path if file_path is None else check_file_path(file_path)
        asset = self._new(caller, source.hash, name, source.size_bytes, source.content_type)
        if not source.is_claim and source.id == asset.id:
            return self.renewed(source), False
        if existing := self._kept(asset.id, caller):
            return existing, False
        spend(source.size_bytes)
        copied = self.uploads.copy(
            source.key, asset.key, name=asset.file_path, content_type=asset.content_type
        )
        if not copied:
            self.store.delete(source)
            raise BlobNotFound(hash_)
        made = self._put(asset)
        if source.is_claim:  # it is verified now, and the asset has its bytes
            self.store.delete(source)
        return made

    def has(self, hash_: str, caller: Principal) -> bool:
        """Whether `from_hash` would find the bytes; a claim's hash is only verified there."""
        if not _HASH.fullmatch(hash_):
            return False
        return any(
            self.uploads.look(asset.key) is not None
            for asset in self._live_ones(self.store.with_hash(caller, hash_))
        )

    def claim(self, id_: UploadId, asked: NewUpload, blake3: str, caller: Principal) -> None:
        """Note that the caller is about to send the file with this hash by an upload form.

        Raises:
            InvalidRequest: the name is no relative path.
        """
        now = self.clock()
        claim = Asset(
            id=id_,
            principal=caller,
            hash=checked_hash(HASH_PREFIX + blake3),
            size_bytes=asked.bytes,
            content_type=asked.content_type,
            file_path=check_file_path(asked.name),
            created_at=now,
            stored_at=now,
            is_claim=True,
        )
        self.store.put(claim)

    def get(self, id_: str, caller: Principal) -> Asset:
        """The caller's asset of that id.

        Raises:
            AssetNotFound: it does not exist, is removed, or is not visible to the caller.
        """
        is_id = _ID.fullmatch(id_)
        asset = self._live(self.store.get(caller, UploadId(id_))) if is_id else None
        if asset is None or asset.is_claim:
            raise AssetNotFound(id_)
        return asset

    def named(self, file_path: str, caller: Principal) -> Asset | None:
        """The caller's newest asset of that name; None if there is none."""
        found = self._live_ones(self.store.with_name(caller, file_path))
        return max((a for a in found if not a.is_claim), key=lambda a: a.stored_at, default=None)

    def delete(self, id_: str, caller: Principal) -> None:
        """Remove the asset's record. Jobs that have named it keep its bytes until they expire.

        Raises:
            AssetNotFound: see `get`.
        """
        self.store.delete(self.get(id_, caller))

    def renewed(self, asset: Asset) -> Asset:
        """The asset, with a new lifetime if it has lived for RENEW_AFTER.

        Raises:
            AssetNotFound: the bytes are gone.
        """
        if self.clock() - asset.stored_at < RENEW_AFTER:
            return asset
        name, kind = asset.file_path, asset.content_type
        if not self.uploads.copy(asset.key, asset.key, name=name, content_type=kind):
            self.store.delete(asset)
            raise AssetNotFound(asset.id)
        younger = replace(asset, stored_at=self.clock())
        in_the_way = self.store.put(younger, replaces=asset.stored_at)
        return in_the_way or younger

    def _kept(self, id_: UploadId, caller: Principal) -> Asset | None:
        """The caller's asset of that id, renewed if it is old; None if its bytes are not there."""
        existing = self._live(self.store.get(caller, id_))
        if existing is None or self.uploads.look(existing.key) is None:
            return None
        return self.renewed(existing)

    def _source(self, hash_: str, caller: Principal) -> Asset:
        """A record of bytes that have the hash. A claim comes last: its file must be read first."""
        found = self._live_ones(self.store.with_hash(caller, hash_))
        for asset in sorted(found, key=lambda each: each.is_claim):
            if not asset.is_claim or self._is_true(asset):
                return asset
        raise BlobNotFound(hash_)

    def _is_true(self, claim: Asset) -> bool:
        """Whether the file that was sent has the claimed hash. A false claim is removed."""
        with TemporaryFile() as file:
            stored = self.uploads.fetch(claim.key, file)
            if stored is None:
                return False  # the form was not used yet
            file.seek(0)
            is_true = hash_of(file) == claim.hash
        if not is_true:
            self.store.delete(claim)
        return is_true

    def _new(self, caller: Principal, hash_: str, name: str, size: int, kind: str) -> Asset:
        now = self.clock()
        return Asset(
            id=asset_id(caller, hash_, name),
            principal=caller,
            hash=hash_,
            size_bytes=size,
            content_type=kind,
            file_path=name,
            created_at=now,
            stored_at=now,
        )

    def _put(self, asset: Asset) -> tuple[Asset, bool]:
        """Put the record of bytes that were just stored, in the place of a record past its end."""
        existing = self.store.put(asset)
        if existing is not None and self._live(existing) is None:
            existing = self.store.put(asset, replaces=existing.stored_at)
        return (asset, True) if existing is None else (existing, False)

    def _live(self, asset: Asset | None) -> Asset | None:
        return asset if asset is not None and self.clock() < asset.expires_at else None

    def _live_ones(self, assets: Sequence[Asset]) -> list[Asset]:
        return [asset for asset in assets if self._live(asset) is not None]


def hash_of(file: IO[bytes]) -> str:
    """The hash of the rest of the file."""
    from blake3 import blake3  # only the functions of assets load it

    digest = blake3()
    while chunk := file.read(1024 * 1024):
        digest.update(chunk)
    return HASH_PREFIX + digest.hexdigest()


def checked_hash(text: str) -> str:
    """The hash, if it is one.

    Raises:
        InvalidRequest: it is not `blake3:` and 64 hexadecimal digits in lower case.
    """
    if not _HASH.fullmatch(text):
        raise InvalidRequest("A hash must be `blake3:` and 64 hexadecimal digits in lower case.")
    return text


def check_file_path(path: str) -> str:
    """The name, if it is a relative path.

    Raises:
        InvalidRequest: it is empty, long or absolute, or has `..`, a backslash or a control
            character.
    """
    is_relative = not path.startswith("/") and ".." not in path.split("/") and "\\" not in path
    if not (0 < len(path) <= MAX_FILE_PATH and is_relative and not _CONTROL.search(path)):
        raise InvalidRequest(
            f"file_path must be a relative path of at most {MAX_FILE_PATH} characters, without "
            "`..`, backslashes and control characters."
        )
    return path
