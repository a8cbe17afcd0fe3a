"""ComfyUI's routes. Each of them exists with the prefix `/api` too."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from comfyui_sim import about, files, jobs
from comfyui_sim.engine import Engine, now_ms
from comfyui_sim.prompt_queue import queue_status
from comfyui_sim.validation import error, validate

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    """The handlers, and those that the imitated version has."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def table(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler."""
        return [
            ("GET", "/ws", self._websocket),
            ("GET", "/prompt", self._queue_size),
            ("POST", "/prompt", self._submit),
            ("GET", "/queue", self._show_queue),
            ("POST", "/queue", self._change_queue),
            ("POST", "/interrupt", self._interrupt),
            ("POST", "/free", self._free),
            ("GET", "/history", self._show_history),
            ("POST", "/history", self._change_history),
            ("GET", "/history/{id}", self._show_history_of),
            ("GET", "/view", self._view),
            ("POST", "/upload/image", self._upload),
            *about.routes(self.engine),
        ]

    def api_only(self) -> list[tuple[str, str, Handler]]:
        """Routes that exist only with the prefix `/api`."""
        if self.engine.options.is_old:
            return []
        return [
            ("GET", "/api/jobs", self._jobs),
            ("POST", "/api/jobs/cancel", self._cancel_jobs),
            ("GET", "/api/jobs/{id}", self._job),
            ("POST", "/api/jobs/{id}/cancel", self._cancel_job),
        ]

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        engine = self.engine
        features = None if engine.options.is_old else about.features(engine.options)
        status = queue_status(engine.queue)
        return await engine.hub.serve(request, status, engine.state.executing_node, features)

    # Prompts

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        number = self._number(body)
        if "prompt" not in body:
            return _rejected(error("no_prompt", "No prompt provided", "No prompt provided"))
        prompt_id = self._prompt_id(body.get("prompt_id"))
        if prompt_id is None:
            details = (
                "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
                "omit it to let the server generate one"
            )
            return _rejected(error("invalid_prompt_id", "prompt_id must be a valid UUID", details))
        engine = self.engine
        targets = body.get("partial_execution_targets")
        verdict = validate(body["prompt"], targets, engine.types, engine.folders)
        if verdict.error is not None:
            return _rejected(verdict.error, verdict.node_errors)
        extra_data = dict(body.get("extra_data", {}))
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        extra_data["create_time"] = now_ms()
        engine.queue.put(number, prompt_id, body["prompt"], extra_data, verdict.outputs)
        answer = {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        return web.json_response(answer)

    def _number(self, body: Any) -> float:
        if "number" in body:
            return float(body["number"])
        # A rejected prompt takes a number too.
        front = isinstance(body, dict) and bool(body.get("front"))
        return self.engine.queue.next_number(front=front)

    def _prompt_id(self, given: Any) -> str | None:
        if given is None:
            return str(uuid.uuid4())
        if self.engine.options.is_old:
            return str(given)
        return given if _is_canonical_uuid(given) else None

    async def _queue_size(self, _: web.Request) -> web.Response:
        return web.json_response(queue_status(self.engine.queue)["status"])

    # Queue and history

    async def _show_queue(self, _: web.Request) -> web.Response:
        queue = self.engine.queue
        return web.json_response(
            {
                "queue_running": [item.listing() for item in queue.running],
                "queue_pending": [item.listing() for item in queue.pending],
            }
        )

    async def _change_queue(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self.engine.queue.clear()
        for prompt_id in body.get("delete", []):
            self.engine.queue.delete(prompt_id)
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except ValueError:
            body = {}
        prompt_id = body.get("prompt_id")
        if prompt_id is None:
            self.engine.state.interrupt_wanted = True
        else:
            self._interrupt_if_running(prompt_id)
        return web.Response()

    def _interrupt_if_running(self, prompt_id: str) -> bool:
        is_running = any(item.prompt_id == prompt_id for item in self.engine.queue.running)
        if is_running:
            self.engine.state.interrupt_wanted = True
        return is_running

    async def _free(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("free_memory"):
            self.engine.state.free_wanted = True
        return web.Response()

    async def _show_history(self, request: web.Request) -> web.Response:
        query = request.query
        max_items = int(query["max_items"]) if "max_items" in query else None
        return web.json_response(self.engine.queue.history(max_items, int(query.get("offset", -1))))

    async def _show_history_of(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        entry = self.engine.queue.history_of(prompt_id)
        return web.json_response({} if entry is None else {prompt_id: entry})

    async def _change_history(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self.engine.queue.forget_all()
        for prompt_id in body.get("delete", []):
            self.engine.queue.forget(prompt_id)
        return web.Response()

    # Jobs

    async def _jobs(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(jobs.listing(self.engine.queue, request.query))
        except jobs.BadFilter as fault:
            return web.json_response({"error": str(fault)}, status=400)

    async def _job(self, request: web.Request) -> web.Response:
        job = jobs.find(self.engine.queue, request.match_info["id"])
        if job is None:
            return web.json_response({"error": "Job not found"}, status=404)
        return web.json_response(job)

    async def _cancel_job(self, request: web.Request) -> web.Response:
        return web.json_response({"cancelled": self._cancel(request.match_info["id"])})

    async def _cancel_jobs(self, request: web.Request) -> web.Response:
        ids = (await request.json()).get("job_ids")
        if not isinstance(ids, list):
            return web.json_response({"error": "job_ids must be a list"}, status=400)
        if invalid := [job_id for job_id in ids if not _is_canonical_uuid(job_id)]:
            answer = {"error": "job_ids contains invalid id(s)", "invalid_ids": invalid}
            return web.json_response(answer, status=400)
        cancelled = [self._cancel(job_id) for job_id in ids]
        return web.json_response({"cancelled": any(cancelled)})

    def _cancel(self, prompt_id: str) -> bool:
        return self.engine.queue.delete(prompt_id) or self._interrupt_if_running(prompt_id)

    # Files

    async def _view(self, request: web.Request) -> web.StreamResponse:
        return await files.view(request, self.engine.folders)

    async def _upload(self, request: web.Request) -> web.Response:
        return await files.upload(request, self.engine.folders)


def _rejected(fault: dict[str, Any], node_errors: dict[str, Any] | None = None) -> web.Response:
    return web.json_response({"error": fault, "node_errors": node_errors or {}}, status=400)


def _is_canonical_uuid(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return str(uuid.UUID(value)) == value
    except ValueError:
        return False
