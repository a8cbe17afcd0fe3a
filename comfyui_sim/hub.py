"""Websockets and the one loop that writes to them, including ComfyUI's own delivery faults.

As in ComfyUI, there is one entry per client id, one serial writer without a timeout, and no replay.
These faults follow from that, and the simulator keeps them on purpose:

- A client that stops reading stops the delivery to all clients.
- A second socket with the same client id replaces the first. When the first one closes, it removes
  the entry of the second one.
- A message that cannot be encoded ends the writer, and the writer ends the process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from comfyui_sim.node_types import Picture
from comfyui_sim.options import Exit

PREVIEW = 1
TEXT = 3
PREVIEW_WITH_METADATA = 4
FORMATS = {"image/jpeg": 1, "image/png": 2}
DEATH_DELAY_S = 0.2  # so that answers that are being sent still arrive

log = logging.getLogger(__name__)


class Hub:
    """Delivers messages to one client id, or to all sockets if the id is None."""

    def __init__(self, exit_process: Exit) -> None:
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._requests: dict[web.WebSocketResponse, web.Request] = {}
        self._flags: dict[str, dict[str, Any]] = {}
        self._outbox: asyncio.Queue[tuple[str | bytes | dict[str, Any], Any]] = asyncio.Queue()
        self._exit = exit_process
        self.muted = False

    def send(self, kind: str, data: dict[str, Any], client_id: Any = None) -> None:
        """Queue a JSON message."""
        self._outbox.put_nowait(({"type": kind, "data": data}, client_id))

    def send_preview(self, picture: Picture, metadata: dict[str, Any], client_id: Any) -> None:
        """Queue a preview: event 4 if the client announced that it reads metadata, else event 1."""
        if not self.reads_metadata(client_id):
            self.send_picture(picture, client_id)
            return
        about = json.dumps({**metadata, "image_type": picture.content_type}).encode()
        frame = struct.pack(">II", PREVIEW_WITH_METADATA, len(about)) + about + picture.body
        self._outbox.put_nowait((frame, client_id))

    def send_picture(self, picture: Picture, client_id: Any) -> None:
        """Queue a picture as event 1, which names neither a prompt nor a node."""
        header = struct.pack(">II", PREVIEW, FORMATS[picture.content_type])
        self._outbox.put_nowait((header + picture.body, client_id))

    def send_text(self, text: str, node_id: str) -> None:
        """Queue a text about a node's progress as event 3, for all sockets."""
        about = node_id.encode()
        frame = struct.pack(">II", TEXT, len(about)) + about + text.encode()
        self._outbox.put_nowait((frame, None))

    def reads_metadata(self, client_id: Any) -> bool:
        """Whether the client announced `supports_preview_metadata` in its first text frame."""
        flags = self._flags.get(client_id, {}) if isinstance(client_id, str) else {}
        return flags.get("supports_preview_metadata") is True

    async def deliver_forever(self) -> None:
        """Write queued messages in order. One that cannot be encoded ends the process."""
        while True:
            message, client_id = await self._outbox.get()
            try:
                await self._deliver(message, client_id)
            except (TypeError, ValueError):
                log.exception("a message cannot be encoded, so the process ends as ComfyUI does")
                await asyncio.sleep(DEATH_DELAY_S)
                self._exit(1)
                return
            finally:
                self._outbox.task_done()

    async def flush(self, timeout_s: float) -> None:
        """Wait until all queued messages are written, at most `timeout_s` seconds."""
        try:
            await asyncio.wait_for(self._outbox.join(), timeout_s)
        except TimeoutError:
            log.warning("some messages were not delivered within %s s", timeout_s)

    async def _deliver(self, message: str | bytes | dict[str, Any], client_id: Any) -> None:
        if client_id is None:
            targets = list(self._sockets.values())
        else:  # an unhashable client_id raises here and ends the server, as recorded
            targets = [self._sockets[client_id]] if client_id in self._sockets else []
        if not targets or self.muted:
            return
        payload = message if isinstance(message, bytes) else json.dumps(message)
        for socket in targets:
            await _write(socket, payload)

    async def serve(
        self,
        request: web.Request,
        greeting: dict[str, Any],
        executing: Callable[[str], str | None],
        features: dict[str, Any] | None,
    ) -> web.WebSocketResponse:
        """Serve one websocket until it closes.

        Args:
            greeting: the data of the first `status`; `sid` is added to it.
            executing: returns the running node if this client id owns the running prompt.
            features: the server's flags for the handshake; None if the server has no handshake.
        """
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        self._sockets[client_id] = socket
        self._requests[socket] = request
        self._flags[client_id] = {}
        try:
            await _write(
                socket,
                json.dumps({"type": "status", "data": {**greeting, "sid": client_id}}),
            )
            if (node := executing(client_id)) is not None:
                # Without a prompt_id, as the real server sends it.
                await _write(socket, json.dumps({"type": "executing", "data": {"node": node}}))
            await self._read(socket, client_id, features)
        finally:
            # Removed by id and not by socket: this is the real server's fault with two sockets.
            self._sockets.pop(client_id, None)
            self._flags.pop(client_id, None)
            self._requests.pop(socket, None)
        return socket

    async def _read(
        self, socket: web.WebSocketResponse, client_id: str, features: dict[str, Any] | None
    ) -> None:
        first = True
        async for message in socket:
            if message.type != WSMsgType.TEXT or not first:
                continue
            first = False
            try:
                content = json.loads(message.data)
            except ValueError:
                continue
            is_handshake = isinstance(content, dict) and content.get("type") == "feature_flags"
            if is_handshake and features is not None:
                self._flags[client_id] = content.get("data", {})
                await _write(socket, json.dumps({"type": "feature_flags", "data": features}))

    def drop_all(self) -> None:
        """Cut every connection without a close frame."""
        for request in self._requests.values():
            if request.transport is not None:
                request.transport.abort()


async def _write(socket: web.WebSocketResponse, payload: str | bytes) -> None:
    try:
        if isinstance(payload, bytes):
            await socket.send_bytes(payload)
        else:
            await socket.send_str(payload)
    except ConnectionError as gone:
        log.info("a message could not be written: %s", gone)
