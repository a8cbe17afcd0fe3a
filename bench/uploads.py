"""`make bench-uploads`: how much of the line a worker uses when it stores one large file.

A server that limits each connection, as S3 does to some 90 MB/s, takes the file. Other programs are
measured beside the worker in the same run, if `--beside` names them:

    python -m bench.uploads --beside 'aws s3 cp' '/path/to/aws s3 cp {source} {target}'

S3's real limit times 16 is more than two cores with a server on them can move. So the server is
slower than S3 in all that it does, by the same factor: its rate, and the time until it answers. The
parts keep their size, so the line is idle between two parts for the same share as on AWS.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

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
from comfyline.adapters.aws.files.artifacts import S3ArtifactStore, uploads_config
from comfyline.contract.ids import OwnerId, random_job_id
from comfyline.service.clock import utc_now
from comfyline.service.jobs.job import Job
from comfyline.service.queue.lanes import Priority
from gpu_worker.collector import AT_ONCE, Collector
from gpu_worker.made import Made
from gpu_worker.workspace import HeldFile

S3_SECONDS = 0.03  # from the last byte of a part to the answer
COMPARED_CONNECTIONS = 16  # of them the goal is a share


def main() -> int:
    """Measure and print a table; the exit status is 1 if the worker misses the goal."""
    given = options(__doc__, megabytes=1024, megabytes_per_second=4.0).parse_args()
    stop_on_sigterm()
    rate = given.megabytes_per_second * 1e6
    latency = S3_SECONDS * S3_BYTES_PER_SECOND / rate
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        source, taken = folder / "source", folder / "taken"
        taken.mkdir()
        sha256 = a_file(source, given.megabytes * 2**20)
        best = COMPARED_CONNECTIONS * rate
        print(f"{COMPARED_CONNECTIONS} connections of {rate / 1e6:.0f} MB/s: {best / 1e6:.0f} MB/s")
        shares = []
        for run in range(given.runs):
            port = folder / f"port{run}"
            with served("bench.paced_sink", taken, rate, latency, port_file=port) as url:
                shares.append(_worker(url, source, sha256, taken) / best)
                for program, command in given.beside:
                    seconds, used = run_beside(command, url, str(source), f"s3://{BUCKET}/beside")
                    _check(taken, "beside", sha256)
                    show(program, source.stat().st_size, seconds, used)
    return verdict(shares)


def _worker(url: str, source: Path, sha256: str, taken: Path) -> float:
    """Bytes a second of a worker that hashes the file while it is sent.

    It is a process of its own, so that its memory can be measured.
    """
    storing = subprocess.run(
        [sys.executable, "-m", "bench.uploads", "--store", url, source],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    stored = json.loads(storing.stdout)
    assert stored["sha256"] == sha256, "the worker has computed another hash"
    _check(taken, f"0_{source.name}", sha256)
    more = f"   {stored['memory'] / 2**20:.0f} MiB of memory"
    show("worker, hashed", source.stat().st_size, stored["seconds"], stored["cpu"], more)
    return source.stat().st_size / float(stored["seconds"])


def _check(taken: Path, name: str, sha256: str) -> None:
    """Check what the server has taken, and remove it."""
    digest = hashlib.sha256()
    for part in sorted(taken.glob(f"{name}.*")):
        digest.update(part.read_bytes())
        part.unlink()
    assert digest.hexdigest() == sha256, f"{name} differs"


def store(url: str, source: Path) -> None:
    """Store the file as a worker does, and print the hash and what it took."""
    client = s3_client(url, uploads_config(AT_ONCE))
    collector = Collector(artifacts=S3ArtifactStore(client, BUCKET))
    file = HeldFile("output", source.name, source)
    made = Made(name=source.name, node="9", kind="file", content=file)
    memory = _peak_bytes()
    before, began = cpu(resource.RUSAGE_SELF), time.monotonic()
    (artifact,), _ = asyncio.run(collector.collect(_a_job(), [made]))
    result = {
        "seconds": time.monotonic() - began,
        "cpu": cpu(resource.RUSAGE_SELF) - before,
        "memory": _peak_bytes() - memory,
        "sha256": artifact.sha256,
    }
    print(json.dumps(result))


def _a_job() -> Job:
    now = utc_now()
    return Job(
        id=random_job_id(now),
        owner=OwnerId("bench"),
        fingerprint="",
        priority=Priority.NORMAL,
        queued_at=now,
        start_deadline=now,
        execution_timeout=timedelta(hours=1),
        retention=timedelta(days=1),
        attempt=1,
    )


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    if sys.argv[1:2] == ["--store"]:
        store(sys.argv[2], Path(sys.argv[3]))
    else:
        raise SystemExit(main())
