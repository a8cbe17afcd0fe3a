"""`python -m localcloud up | down | run`: starts and stops the whole service on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
import typer
from rich.console import Console
from typer.core import TyperGroup

from localcloud.cloud import Options, administration, local_cloud
from localcloud.elsewhere import down_in_localstack, up_in_localstack, up_on_aws
from localcloud.one_job import run_one_job
from localcloud.processes import MARK, end_all, stop_signal
from localcloud.sign_in import console_of, sign_in_link
from localcloud.state import DEFAULT_STATE, ROOT, CloudFailed, Endpoints, State, is_free

DEFAULT_PORT = 4566  # the usual port of AWS emulators
UP_SECONDS = 240.0
LAST_LINES = 30  # of the log, which are shown if the start fails
EXAMPLE_PROMPT = "a red fox in the snow, morning light"


class _Commands(TyperGroup):
    """The commands. The message of a step that failed is printed instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CloudFailed as error:
            Console(stderr=True, highlight=False).print(str(error), style="red", markup=False)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Run the whole service on this machine, without Docker, cloud account or GPU.",
)
_out = Console(highlight=False)

StateFolder = Annotated[
    Path, typer.Option("--state", help="The folder for logs and endpoints.json.", file_okay=False)
]
Port = Annotated[
    int, typer.Option(envvar="PORT", help="Port of the AWS emulator; 0: any free port.")
]
Workers = Annotated[
    int, typer.Option(envvar="WORKERS", min=1, help="Number of workers, each with a ComfyUI.")
]
ComfyuiUrl = Annotated[
    str | None,
    typer.Option(envvar="COMFYUI_URL", help="URL of a real ComfyUI; without it, simulators run."),
]
ComfyuiDirectory = Annotated[
    Path | None,
    typer.Option(
        envvar="COMFYUI_DIRECTORY",
        help="The folder above `input`, `output`, `temp` and `datasets` of the ComfyUI at "
        "COMFYUI_URL. The one worker then owns these four, empties them, and also returns files "
        "that no node reports.",
        exists=True,
        file_okay=False,
        resolve_path=True,
    ),
]
Target = Annotated[Literal["local", "localstack", "aws"], typer.Option(help="Where to deploy.")]
Deployment = Annotated[
    Path,
    typer.Option(
        "--deployment", help="The deployment file, for the target aws.", exists=True, dir_okay=False
    ),
]


@app.command()
def up(
    state_folder: StateFolder = DEFAULT_STATE,
    port: Port = DEFAULT_PORT,
    workers: Workers = 1,
    comfyui_url: ComfyuiUrl = None,
    target: Target = "local",
    deployment: Deployment = ROOT / "deployments" / "dev.toml",
) -> None:
    """Start everything in the background and print the endpoints."""
    state = State(state_folder.absolute())
    if target != "local":
        deploying = (
            up_on_aws(state, deployment, _report)
            if target == "aws"
            else up_in_localstack(state, workers, _report)
        )
        _print_endpoints(state, asyncio.run(deploying), "The service is deployed.")
        return
    endpoints = state.read()
    if endpoints is not None and psutil.pid_exists(endpoints.pids.supervisor):
        _print_endpoints(state, endpoints, "The service is up already.")
        return
    end_all(state)  # the processes that a killed supervisor left behind
    if port and not is_free(port):
        raise CloudFailed(f"Another program uses port {port}. To use a free port: make up PORT=0")
    _build_console()
    state.prepare()
    options = {"PORT": str(port), "WORKERS": str(workers), "COMFYUI_URL": comfyui_url or ""}
    with state.log("supervisor").open("wb") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "localcloud", "serve", "--state", str(state.folder)],
            cwd=ROOT,
            env={**os.environ, **options, MARK: str(state.folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _print_endpoints(state, _wait_until_up(state, supervisor), "The service is up.")


def _build_console() -> None:
    _report("Building the console, unless it is built")
    subprocess.run([sys.executable, "-m", "infra.console"], cwd=ROOT, check=True, stdout=sys.stderr)


def _wait_until_up(state: State, supervisor: subprocess.Popen[bytes]) -> Endpoints:
    printed, give_up_at = 0, time.monotonic() + UP_SECONDS
    log = state.log("supervisor")
    while supervisor.poll() is None and time.monotonic() < give_up_at:
        endpoints = state.read()
        lines = log.read_text(errors="replace").splitlines()
        for line in lines[printed:]:
            _out.print(line, style="dim", markup=False)
        printed = len(lines)
        if endpoints is not None:
            return endpoints
        time.sleep(0.1)
    end_all(state)
    last = log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:]
    text = "\n".join(["The service did not start:", *last, f"All logs are in {log.parent}"])
    raise CloudFailed(text)


def _print_endpoints(state: State, endpoints: Endpoints, news: str) -> None:
    _out.print(f"{news} To use it from this shell:\n", markup=False)
    for name, value in endpoints.client_environment.items():
        _out.print(f"  export {name}={value}", markup=False, soft_wrap=True)
    _out.print('  .venv/bin/comfyline submit "a red fox" --watch --out out', markup=False)
    _out.print(f"\nIn a browser: {endpoints.api_url}/", markup=False, soft_wrap=True)
    _out.print(f"The console: {console_of(endpoints)}", markup=False, soft_wrap=True)
    _print_link(endpoints)
    _out.print(f"All endpoints: {state.endpoints_file}\nTo stop it: make down", markup=False)


def _print_link(endpoints: Endpoints) -> None:
    """The service is up without a link, too: the key signs in as well."""
    try:
        link = sign_in_link(endpoints)
    except CloudFailed as error:
        _out.print(f"{error}. Sign in with the key.", markup=False, soft_wrap=True)
    else:
        text = f"It signs you in, once and within ten minutes: {link}"
        _out.print(text, markup=False, soft_wrap=True)


@app.command()
def serve(
    state_folder: StateFolder = DEFAULT_STATE,
    port: Port = DEFAULT_PORT,
    workers: Workers = 1,
    comfyui_url: ComfyuiUrl = None,
    comfyui_directory: ComfyuiDirectory = None,
) -> None:
    """Keep everything running in the foreground until SIGTERM or Ctrl-C."""
    state = State(state_folder.absolute())
    options = Options(
        port=port,
        workers=workers,
        comfyui_url=comfyui_url,
        comfyui_directory=comfyui_directory,
    )
    try:
        asyncio.run(_serve(state, options))
    finally:
        end_all(state)


async def _serve(state: State, options: Options) -> None:
    stop = stop_signal()
    async with local_cloud(state, options, _report):
        await stop.wait()


@app.command()
def down(state_folder: StateFolder = DEFAULT_STATE, target: Target = "local") -> None:
    """Stop everything that `up` has started."""
    state = State(state_folder.absolute())
    endpoints = state.read()
    if endpoints is not None and target == "local":
        target = endpoints.target
    if target == "aws":
        raise CloudFailed(
            "make down deletes nothing on AWS. docs/deploy.md says how to delete a deployment."
        )
    if target == "localstack":  # also if its start has failed
        down_in_localstack(state)
    elif endpoints is not None:
        _end_supervisor(endpoints.pids.supervisor)
    end_all(state)
    state.endpoints_file.unlink(missing_ok=True)
    _out.print("The service is stopped.")


def _end_supervisor(pid: int) -> None:
    try:
        supervisor = psutil.Process(pid)
        if "localcloud" in supervisor.cmdline():  # and not another process with this pid
            supervisor.terminate()
            supervisor.wait(timeout=30)
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        return


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def audit(context: typer.Context, state_folder: StateFolder = DEFAULT_STATE) -> None:
    """Audit a running deployment, with the options of `comfyline admin audit`."""
    endpoints = State(state_folder.absolute()).read()
    if endpoints is None:
        raise CloudFailed(
            f"No service is up with the state folder {state_folder}. To start one: make up"
        )
    command = (sys.executable, "-m", "comfyline.operate.admin", "audit", *context.args)
    done = subprocess.run(command, cwd=ROOT, env=administration(endpoints), check=False)
    raise typer.Exit(done.returncode)


@app.command()
def run(
    prompt: Annotated[str, typer.Argument(help="The content of the picture.")] = EXAMPLE_PROMPT,
    out: Annotated[Path, typer.Option(help="The folder for the picture.")] = Path("out"),
    state_folder: StateFolder = DEFAULT_STATE / "run",
    workers: Workers = 1,
    comfyui_url: ComfyuiUrl = None,
    comfyui_directory: ComfyuiDirectory = None,
    in_browser: Annotated[
        bool,
        typer.Option(
            "--open", envvar="OPEN", help="Open the console, and keep everything up until Ctrl-C."
        ),
    ] = False,
) -> None:
    """Start everything, run one job through the public API, save its picture, stop everything."""
    state = State(state_folder.absolute())
    end_all(state)
    if in_browser:
        _build_console()
    options = Options(workers=workers, comfyui_url=comfyui_url, comfyui_directory=comfyui_directory)
    try:
        status = asyncio.run(
            run_one_job(state, options, prompt, out, _report, in_browser=in_browser)
        )
    finally:
        end_all(state)
    raise typer.Exit(status)


def _report(line: str) -> None:
    _out.print(f"{line} …", markup=False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    app()
