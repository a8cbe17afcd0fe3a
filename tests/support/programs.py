"""Programs that a test runs to their end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def printed(
    command: Sequence[str | Path],
    variables: Mapping[str, str],
    *,
    folder: Path | None = None,
    seconds: float,
) -> str:
    """What the program prints; it fails the test unless the program succeeds within the time."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
