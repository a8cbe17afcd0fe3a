"""Kept results: figures as JSON, with the machine on which they were measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench.figures import Result, Runs

FOLDER = Path(__file__).parent / "results"

Kept = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """A figure beside its value in the kept result."""

    result: Result
    before: Runs | None

    @property
    def is_worse(self) -> bool:
        """Whether the figure is a regression."""
        if self.before is None:
            return False
        return self.result.figure.is_worse(self.result.runs, self.before)


def compared(found: Sequence[Result], kept: Kept | None) -> list[Line]:
    """Each figure beside the kept one of the same name."""
    figures = kept["figures"] if kept else {}
    return [Line(result, _runs_of(figures.get(result.figure.name))) for result in found]


def _runs_of(kept: Mapping[str, Any] | None) -> Runs | None:
    """The kept runs; results of older benchmarks have no yardsticks."""
    return None if kept is None else Runs(kept["runs"], kept.get("yardsticks", ()))


def document(found: Sequence[Result]) -> str:
    """The figures as JSON: one object, with the figures by name."""
    figures = {
        result.figure.name: {
            "value": round(result.value, 3),
            "unit": result.figure.unit,
            "goal": result.figure.goal,
            "meets_goal": result.figure.meets_goal(result.value),
            "runs": [round(value, 3) for value in result.runs.values],
            "yardsticks": [round(value, 3) for value in result.runs.yardsticks],
        }
        for result in found
    }
    return json.dumps({"machine": machine(), "figures": figures}, indent=2) + "\n"


def machine() -> dict[str, Any]:
    """The machine, its load and the code, on which the figures depend."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "is_modified": bool(_git("status", "--porcelain")),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_1_5_15": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "engine": "ComfyUI" if os.environ.get("COMFYUI_URL") else "simulator",
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def read(path: Path) -> Kept | None:
    """The kept result; None if there is none yet."""
    return json.loads(path.read_text()) if path.exists() else None


def keep(path: Path, text: str) -> None:
    """Keep the figures for later comparisons. Kept figures that are not among them stay."""
    new, old = json.loads(text), read(path)
    merged = {**(old["figures"] if old else {}), **new["figures"]}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": new["machine"], "figures": merged}, indent=2) + "\n")
