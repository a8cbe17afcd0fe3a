"""`make bench-models`: how much of the line a worker uses when it fetches one large model.

A server that limits each connection, as S3 does to some 90 MB/s, hands out one file. Other programs
are measured beside the worker in the same run, if `--beside` names them:

    python -m bench.models --beside 'aws s3 cp' '/path/to/aws s3 cp {source} {target}'

S3's real limit times 16 is more than two cores with a server on them can move, so the limit is
scaled down, and the parts with it, so that the number of answers of each connection is as on AWS.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.config import Config

from bench.cloud import stop_on_sigterm
from comfyline.adapters.aws.files.addressing import s3_config
from comfyline.adapters.aws.files.models import S3ModelStore, models_config
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.graphs.lock import Model
from gpu_worker.models.download import PART_BYTES, Pace
from gpu_worker.models.folder import CONNECTIONS, ModelFolder

S3_BYTES_PER_SECOND = 90e6  # of one connection
GOAL = 0.8  # of what all connections could bring


def main() -> int:
    """Measure and print a table; the exit status is 1 if the worker misses the goal."""
    given = _options().parse_args()
    stop_on_sigterm()
    rate = given.megabytes_per_second * 1e6
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        source = folder / "source"
        sha256 = _made(source, given.megabytes * 2**20)
        best = CONNECTIONS * rate
        print(f"{CONNECTIONS} connections of {rate / 1e6:.0f} MB/s: {best / 1e6:.0f} MB/s")
        shares = []
        for run in range(given.runs):
            with _served(source, rate, folder / f"port{run}") as url:
                share = _worker(url, source, sha256, rate, folder / f"worker{run}") / best
                shares.append(share)
                for program, command in given.beside:
                    _beside(program, command, url, source, folder / "beside")
    median = sorted(shares)[len(shares) // 2]
    print(f"worker, median of {given.runs}: {100 * median:.0f} % (goal {100 * GOAL:.0f} %)")
    return int(median < GOAL)


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--megabytes", type=int, default=512, help="size of the model, in MiB")
    options.add_argument("--megabytes-per-second", type=float, default=9.0, help="a connection")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--folder", help="where the files are made; a temporary folder if not")
    options.add_argument(
        "--beside",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "COMMAND"),
        help="another program; {source}, {target} and {url} are filled in",
    )
    return options


def _made(path: Path, size: int) -> str:
    """A file of random bytes; its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // 2**20):
            block = os.urandom(2**20)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


@contextmanager
def _served(source: Path, rate: float, port_file: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.paced_store", source, str(rate), port_file]
    server = subprocess.Popen([str(part) for part in command])
    try:
        while not (port_file.is_file() and port_file.read_text()):
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port_file.read_text()}"
    finally:
        server.kill()
        server.wait()


def _worker(url: str, source: Path, sha256: str, rate: float, root: Path) -> float:
    """Bytes a second of a worker, with its check of the hash."""
    size = source.stat().st_size
    model = Model(path="checkpoints/model", sha256=sha256, bytes=size)
    pace = Pace(part_bytes=max(2**20, int(PART_BYTES * rate / S3_BYTES_PER_SECOND)))
    config = Config(retries={"total_max_attempts": 1}).merge(s3_config(url))
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",  # noqa: S106 - the server checks nothing
        config=config.merge(models_config(CONNECTIONS)),
    )
    folder = ModelFolder(S3ModelStore(client, "models"), root, InMemoryMetrics(), pace)
    before, began = _cpu(resource.RUSAGE_SELF), time.monotonic()
    assert asyncio.run(folder.fill([model], asyncio.Event()))
    seconds = time.monotonic() - began
    _show("worker, hash checked", size, seconds, _cpu(resource.RUSAGE_SELF) - before)
    (root / model.path).unlink()
    return size / seconds


def _beside(name: str, command: str, url: str, source: Path, target: Path) -> None:
    filled = command.format(source="s3://models/model", target=target, url=url)
    environ = {**os.environ, "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    environ |= {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": url, "NO_PROXY": "127.0.0.1"}
    before, began = _cpu(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(shlex.split(filled), check=True, env=environ, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    size = target.stat().st_size
    assert size == source.stat().st_size, f"{name} fetched {size} bytes"
    _show(name, size, seconds, _cpu(resource.RUSAGE_CHILDREN) - before)
    target.unlink()


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _show(name: str, size: int, seconds: float, cpu: float) -> None:
    gigabytes = size / 1e9
    print(
        f"  {name:24} {size / seconds / 1e6:7.0f} MB/s {seconds:6.1f} s"
        f"   {cpu / gigabytes:5.2f} s of CPU a GB",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
