"""The fork server, with the class of the emulator that starts and calls functions."""

from __future__ import annotations

import asyncio
import io
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ministack.core.lambda_runtime import Worker  # type: ignore[import-untyped]

from localcloud import emulator, fork_server
from localcloud.fork_launcher import SOCKET
from localcloud.processes import stop
from localcloud.state import State
from tests.support.eventually import WITHIN

pytestmark = pytest.mark.skipif(not fork_server.IS_SUPPORTED, reason="needs Linux")

CODE = """
import os, sys

IMPORTED_IN = os.getpid()
print("imported")

def handler(event, context):
    print("called", file=sys.stderr)
    return {
        "event": event,
        "imported_in": IMPORTED_IN,
        "process": os.getpid(),
        "variable": os.environ["VARIABLE"],
        "log_stream": context.log_stream_name,
        "folder": os.getcwd(),
    }
"""


class _Worker(Worker):  # type: ignore[misc]
    """A worker that closes the pipes of its processes, which the emulator leaves open."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.processes = list[Any]()

    def _spawn(self) -> None:
        try:
            super()._spawn()
        finally:
            self.processes.append(self._proc)

    def end(self) -> None:
        self.kill()
        for process in self.processes:
            process.wait()
            self._stderr_thread.join()
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()


Start = Callable[..., _Worker]


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / ("a" * 120))  # longer than the address of a socket may be
    state.prepare()
    return state


@pytest.fixture
async def server(state: State) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await emulator.start_fork_server(state)
    async with asyncio.timeout(WITHIN):
        while not (state.temporary / SOCKET).exists():
            await asyncio.sleep(0.01)
    yield process
    await stop(process)


@pytest.fixture
def start(state: State, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Make workers, as the emulator does for each concurrent call."""
    monkeypatch.setattr(sys, "executable", str(emulator.launcher(state)))
    made = list[_Worker]()

    def start(code: str = CODE, variable: str = "") -> _Worker:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as files:
            files.writestr("function.py", code)
        configuration = {
            "FunctionName": "tried",
            "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:tried",
            "Handler": "function.handler",
            "Runtime": "python3.13",
            "Environment": {"Variables": {"VARIABLE": variable}},
        }
        made.append(_Worker("tried", configuration, archive.getvalue()))
        return made[-1]

    yield start
    for worker in made:
        worker.end()


async def called(worker: _Worker, event: Any = None) -> dict[str, Any]:
    return await asyncio.to_thread(worker.invoke, event, "a request")


async def result_of(worker: _Worker, event: Any = None) -> dict[str, Any]:
    answer = await called(worker, event)
    assert answer["status"] == "ok", answer
    result: dict[str, Any] = answer["result"]
    return result


@pytest.mark.usefixtures("server")
async def test_processes_of_a_function_share_its_import(start: Start) -> None:
    first, second = start(), start()
    one, other = await asyncio.gather(result_of(first), result_of(second))
    assert one["imported_in"] == other["imported_in"]
    assert len({one["imported_in"], one["process"], other["process"]}) == 3
    assert one["log_stream"] != other["log_stream"]
    assert one["folder"] != other["folder"]


@pytest.mark.usefixtures("server")
async def test_a_process_answers_one_call_after_the_other(start: Start) -> None:
    worker = start()
    results = [
        await result_of(worker, {"number": number, "text": "x" * 10**5}) for number in (1, 2)
    ]
    assert [result["event"]["number"] for result in results] == [1, 2]
    assert results[0]["process"] == results[1]["process"]


@pytest.mark.usefixtures("server")
async def test_what_a_function_prints_is_in_its_log(start: Start) -> None:
    assert "called" in (await called(start()))["log"]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("change", [{"code": CODE + "\n"}, {"variable": "new"}])
async def test_an_updated_function_is_imported_again(start: Start, change: dict[str, str]) -> None:
    before, after = await result_of(start()), await result_of(start(**change))
    assert after["imported_in"] != before["imported_in"]
    assert after["variable"] == change.get("variable", "")


@pytest.mark.usefixtures("server")
async def test_a_process_ends_with_its_launcher(start: Start) -> None:
    worker = start()
    process = psutil.Process((await result_of(worker))["process"])
    worker._proc.kill()
    await asyncio.to_thread(process.wait, 10)


@pytest.mark.usefixtures("server")
async def test_the_launcher_ends_with_its_process(start: Start) -> None:
    worker = start()
    psutil.Process((await result_of(worker))["process"]).kill()
    await asyncio.to_thread(worker._proc.wait, 10)
    assert (await result_of(worker))["event"] is None  # in a new process


@pytest.mark.usefixtures("server")
async def test_an_import_that_fails_is_reported_by_each_process(start: Start) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no_such_module"):
            await called(start("import no_such_module"))


async def test_without_a_server_a_process_starts_in_the_usual_way(start: Start) -> None:
    result = await result_of(start())
    assert result["imported_in"] == result["process"]


async def test_templates_end_with_the_server(
    server: asyncio.subprocess.Process, start: Start
) -> None:
    templates = list[psutil.Process]()
    for variable in ("one", "two"):
        result = await result_of(start(variable=variable))
        templates.append(psutil.Process(result["imported_in"]))
    await stop(server)
    for template in templates:
        await asyncio.to_thread(template.wait, 10)
