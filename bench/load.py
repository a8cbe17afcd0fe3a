"""`make load`: run the load test against a local cloud that is started for it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from bench.cloud import a_cloud, endpoints_of, stop_on_sigterm

# The locustfile is not imported, because locust patches the process that imports it.
LOCUSTFILE = Path(__file__).with_name("locustfile.py")


def main() -> int:
    """Run locust, and return its exit status: 0 if there was no error and p99 is low enough."""
    options = argparse.ArgumentParser(description=__doc__)
    users, minutes = os.environ.get("LOAD_USERS", "50"), os.environ.get("LOAD_MINUTES", "5")
    options.add_argument("--users", default=users, help="who post jobs (LOAD_USERS)")
    options.add_argument("--minutes", type=float, default=minutes, help="(LOAD_MINUTES)")
    options.add_argument("--workers", type=int, default=1, help="of the local cloud")
    options.add_argument("--endpoints", type=Path, help="endpoints.json of a cloud that is up")
    given = options.parse_args()
    stop_on_sigterm()
    comfyui_url = os.environ.get("COMFYUI_URL")
    with a_cloud(given.endpoints, workers=given.workers, comfyui_url=comfyui_url) as state:
        endpoints = endpoints_of(state)
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
