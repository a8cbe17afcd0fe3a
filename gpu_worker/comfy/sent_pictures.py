"""The pictures that a prompt sends over the socket, kept until they are stored."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from gpu_worker.comfy.outcomes import SentPicture
from gpu_worker.comfy.protocol import PictureSent
from gpu_worker.comfy.spool import Spool

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLimits:
    """What one prompt may send; pictures beyond that are counted and left out."""

    count: int = 10_000
    size: int = 1024**3  # bytes of all pictures together; they are on the worker's disk


DEFAULT_LIMITS = PictureLimits()


class SentPictures:
    """The pictures of one prompt, in the order in which they came."""

    def __init__(
        self, limits: PictureLimits = DEFAULT_LIMITS, *, spool: Spool | None = None
    ) -> None:
        self.kept: list[SentPicture] = []
        self.left_out = 0  # beyond the limits
        self.are_lost = False  # one could not be kept, because the worker's disk is full
        self._limits, self._spool = limits, spool or Spool()
        self._numbers = Counter[str]()  # of the last picture of each node

    def __bool__(self) -> bool:
        """Whether any has come."""
        return bool(self._numbers)

    def add(self, sent: PictureSent) -> None:
        """Keep a picture; never raises."""
        self._numbers[sent.node] += 1
        is_large = self._spool.size + len(sent.picture) > self._limits.size
        if is_large or len(self.kept) >= self._limits.count:
            self.left_out += 1
            return
        try:
            body = self._spool.append(sent.picture)
        except OSError:
            _log.exception("picture not kept", extra={"action": "picture_not_kept"})
            self.are_lost = True
            return
        picture = SentPicture(
            node=sent.node,
            node_type=sent.node_type,
            number=self._numbers[sent.node],
            content_type=sent.content_type,
            body=body,
        )
        self.kept.append(picture)
