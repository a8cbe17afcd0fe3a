"""What a worker makes of an engine that ends, breaks off or talks nonsense, with real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from gpu_worker.comfy.http import ComfyHttp, EngineGone, EngineUnreachable, session_of
from gpu_worker.comfy.outputs import OutputFile

FILE = OutputFile(node="9", filename="a b+c%20ü.png", subfolder="x/y", type="output", kind="image")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"


@asynccontextmanager
async def answering(
    answer: bytes | None, requests: list[bytes] | None = None
) -> AsyncIterator[str]:
    """The URL of a server that gives these bytes to each connection, and closes it.

    None: it gives no answer, and waits until the client has closed the connection.
    """
    serving = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(request)
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()
        await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*serving)


async def seen(url: str) -> EngineUnreachable:
    async with session_of(url) as session:
        with pytest.raises(EngineUnreachable) as failed:
            await ComfyHttp(session).queue()
    return failed.value


async def test_an_engine_whose_port_is_closed_is_gone() -> None:
    async with answering(b"") as url:
        pass
    assert isinstance(await seen(url), EngineGone)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", HEAD[:20], HEAD, HEAD + b"{"])
async def test_an_engine_that_does_not_end_its_answer_is_unreachable(answer: bytes) -> None:
    async with answering(answer) as url:
        assert not isinstance(await seen(url), EngineGone)


async def test_an_engine_that_answers_late_is_unreachable() -> None:
    timeout = aiohttp.ClientTimeout(sock_read=0.01)
    async with answering(None) as url, aiohttp.ClientSession(url, timeout=timeout) as session:
        with pytest.raises(EngineUnreachable) as late:
            await ComfyHttp(session).queue()
    assert not isinstance(late.value, EngineGone)


async def test_a_file_that_breaks_off_is_unreachable() -> None:
    async with answering(HEAD + b"pixels") as url, session_of(url) as session:
        with pytest.raises(EngineUnreachable):
            [chunk async for chunk in ComfyHttp(session).view(FILE)]


async def test_an_engine_may_be_below_a_path_and_a_file_may_have_any_name() -> None:
    requests: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npixels"
    async with answering(answer, requests) as url, session_of(f"{url}/engine") as session:
        chunks = [chunk async for chunk in ComfyHttp(session).view(FILE)]
    assert b"".join(chunks) == b"pixels"
    assert requests[0].startswith(
        b"GET /engine/view?filename=a+b%2Bc%2520%C3%BC.png&subfolder=x/y&"
    )


async def test_an_engine_that_reads_only_a_part_of_a_large_graph_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gpu_worker.comfy.http.SILENT_SECONDS", 0.1)
    monkeypatch.setattr("gpu_worker.comfy.http.SLOWEST_SEND", 2**40)
    graph = {"1": {"class_type": "Text", "inputs": {"text": "x" * 2**25}}}
    is_over = asyncio.Event()

    async def stopped(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        writer.close()

    async with await asyncio.start_server(stopped, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with session_of(url) as session:
            with pytest.raises(EngineUnreachable):
                await ComfyHttp(session).submit(graph, prompt_id="p", client_id="c", extra_data={})
        is_over.set()
