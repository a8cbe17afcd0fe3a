"""`make bench-models`: how much of the line a worker uses when it fetches one large model.

A server that limits each connection, as S3 does to some 90 MB/s, hands out one file. Other programs
are measured beside the worker in the same run, if `--beside` names them:

    python -m bench.models --beside 'aws s3 cp' '/path/to/aws s3 cp {source} {target}'

S3's real limit times 16 is more than two cores with a server on them can move, so the limit is
scaled down, and the parts with it, so that the number of answers of each connection is as on AWS.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from pathlib import Path

from botocore.config import Config

from bench.cloud import stop_on_sigterm
from bench.paced import (
    BUCKET,
    S3_BYTES_PER_SECOND,
    a_file,
    cpu,
    options,
    run_beside,
    s3_client,
    served,
    show,
    verdict,
)
from comfyline.adapters.aws.files.models import S3ModelStore, models_config
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.graphs.lock import Model
from gpu_worker.models.download import PART_BYTES, Pace
from gpu_worker.models.folder import CONNECTIONS, ModelFolder


def main() -> int:
    """Measure and print a table; the exit status is 1 if the worker misses the goal."""
    given = options(__doc__, megabytes=512, megabytes_per_second=9.0).parse_args()
    stop_on_sigterm()
    rate = given.megabytes_per_second * 1e6
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        source = folder / "source"
        sha256 = a_file(source, given.megabytes * 2**20)
        best = CONNECTIONS * rate
        print(f"{CONNECTIONS} connections of {rate / 1e6:.0f} MB/s: {best / 1e6:.0f} MB/s")
        shares = []
        for run in range(given.runs):
            port = folder / f"port{run}"
            with served("bench.paced_store", source, rate, port_file=port) as url:
                share = _worker(url, source, sha256, rate, folder / f"worker{run}") / best
                shares.append(share)
                for program, command in given.beside:
                    _beside(program, command, url, source, folder / "beside")
    return verdict(shares)


def _worker(url: str, source: Path, sha256: str, rate: float, root: Path) -> float:
    """Bytes a second of a worker, with its check of the hash."""
    size = source.stat().st_size
    model = Model(path="checkpoints/model", sha256=sha256, bytes=size)
    pace = Pace(part_bytes=max(2**20, int(PART_BYTES * rate / S3_BYTES_PER_SECOND)))
    config = Config(retries={"total_max_attempts": 1}).merge(models_config(CONNECTIONS))
    store = S3ModelStore(s3_client(url, config), BUCKET)
    folder = ModelFolder(store, root, InMemoryMetrics(), pace)
    before, began = cpu(resource.RUSAGE_SELF), time.monotonic()
    assert asyncio.run(folder.fill([model], asyncio.Event()))
    seconds = time.monotonic() - began
    show("worker, hash checked", size, seconds, cpu(resource.RUSAGE_SELF) - before)
    (root / model.path).unlink()
    return size / seconds


def _beside(name: str, command: str, url: str, source: Path, target: Path) -> None:
    seconds, used = run_beside(command, url, f"s3://{BUCKET}/model", str(target))
    size = target.stat().st_size
    assert size == source.stat().st_size, f"{name} fetched {size} bytes"
    show(name, size, seconds, used)
    target.unlink()


if __name__ == "__main__":
    raise SystemExit(main())
