"""What the benchmarks of one large file share: the file, the server, and the other programs."""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from comfyline.adapters.aws.files.addressing import s3_config

S3_BYTES_PER_SECOND = 90e6  # of one connection
GOAL = 0.8  # of what all connections could move
BUCKET = "models"


def options(
    description: str | None, *, megabytes: int, megabytes_per_second: float
) -> argparse.ArgumentParser:
    """The options of both commands, with the defaults of one."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--megabytes", type=int, default=megabytes, help="size of the file, in MiB")
    found.add_argument(
        "--megabytes-per-second", type=float, default=megabytes_per_second, help="a connection"
    )
    found.add_argument("--runs", type=int, default=3)
    found.add_argument("--folder", help="where the files are made; a temporary folder if not")
    found.add_argument(
        "--beside",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "COMMAND"),
        help="another program; {source}, {target} and {url} are filled in",
    )
    return found


def a_file(path: Path, size: int) -> str:
    """Write a file of random bytes; its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // 2**20):
            block = os.urandom(2**20)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


@contextmanager
def served(module: str, *arguments: object, port_file: Path) -> Iterator[str]:
    """The URL of a server of `bench`, which runs until the block ends."""
    command = [sys.executable, "-m", module, *map(str, arguments), str(port_file)]
    server = subprocess.Popen(command)
    try:
        while not (port_file.is_file() and port_file.read_text()):
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port_file.read_text()}"
    finally:
        server.kill()
        server.wait()


def s3_client(url: str, special: Config) -> Any:
    """A client of that server, configured as the worker's."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",  # noqa: S106 - the server checks nothing
        config=special.merge(s3_config(url)),
    )


def run_beside(command: str, url: str, source: str, target: str) -> tuple[float, float]:
    """Run another program; the seconds that it took, and those of CPU."""
    filled = command.format(source=source, target=target, url=url)
    environ = {**os.environ, "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    environ |= {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": url, "NO_PROXY": "127.0.0.1"}
    before, began = cpu(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(shlex.split(filled), check=True, env=environ, stdout=subprocess.DEVNULL)
    return time.monotonic() - began, cpu(resource.RUSAGE_CHILDREN) - before


def cpu(who: int) -> float:
    """Seconds of CPU that this process or its children have used."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def show(name: str, size: int, seconds: float, cpu_seconds: float, more: str = "") -> None:
    """Print the line of one program."""
    print(
        f"  {name:24} {size / seconds / 1e6:7.0f} MB/s {seconds:6.1f} s"
        f"   {cpu_seconds / (size / 1e9):5.2f} s of CPU a GB{more}",
        flush=True,
    )


def verdict(shares: list[float]) -> int:
    """Print the median of the worker's shares of the line; 1 if it misses the goal, else 0."""
    median = sorted(shares)[len(shares) // 2]
    print(f"worker, median of {len(shares)}: {100 * median:.0f} % (goal {100 * GOAL:.0f} %)")
    return int(median < GOAL)
