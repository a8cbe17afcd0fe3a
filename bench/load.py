"""`make load`: the load test against a local cloud that is started for it."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from bench.stage import a_cloud

# Not imported from the locustfile, which would bring locust's patches into this process.
LOCUSTFILE = Path(__file__).with_name("locustfile.py")


def main() -> int:
    """What locust's exit status is: 0 if the run was good enough."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--users", default=os.environ.get("LOAD_USERS", "50"))
    options.add_argument(
        "--minutes", type=float, default=float(os.environ.get("LOAD_MINUTES", "5"))
    )
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--endpoints", type=Path, help="endpoints.json of a cloud that is up")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and leave no cloud behind
    comfyui_url = os.environ.get("COMFYUI_URL")
    with a_cloud(given.endpoints, workers=given.workers, comfyui_url=comfyui_url) as state:
        endpoints = state.read()
        if endpoints is None:
            raise SystemExit(f"nothing is up in {state.folder}")
        return subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"),
                *("--users", given.users, "--spawn-rate", "5", "--only-summary"),
                *("--run-time", f"{round(given.minutes * 60)}s", "--host", endpoints.api_url),
            ],
            env={**os.environ, "COMFYLINE_API_KEY": endpoints.api_key},
            check=False,
        ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
