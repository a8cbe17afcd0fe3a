"""From zero to the first picture: the parts of a boot on paper, for each way to boot.

The figures and their sources are in boot.toml. Nothing here was measured on AWS.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from infra.prices import gpu_hour, prices, volume_month

GPU = "g6.xlarge"
LARGE_MODELS = 100  # GB, to show what the rates mean for a lock with many models
_MARKS = {"published": "p", "measured": "m", "assumed": "a"}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a boot in one variant."""

    seconds: float
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Way:
    """One way to boot: its parts in order, and what an instance costs while it waits."""

    name: str
    parts: Mapping[str, Part]
    idle_month: float  # dollars, for each instance that waits; of an AMI, for all of them
    setting: str

    @property
    def seconds(self) -> float:
        """From the scaler's order to the first picture."""
        return sum(part.seconds for part in self.parts.values())

    @property
    def boot_dollars(self) -> float:
        """The GPU's price of one boot on demand: an instance is paid from its launch on."""
        paid = self.seconds - self.parts["alarm"].seconds
        capacity = "managed" if self.name.startswith("Managed") else "asg"
        return paid / 3600 * gpu_hour(GPU, 0, capacity=capacity)


@cache
def _figures() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("boot.toml").read_text())


def ways() -> list[Way]:
    """All ways, in the order of the file."""
    return [_way(given) for given in _figures()["ways"]]


def _way(given: Mapping[str, Any]) -> Way:
    parts = {name: _part(name, variant) for name, variant in given["parts"].items()}
    return Way(given["name"], parts, _idle_month(given["idle"]), given["setting"])


def _part(name: str, variant: str) -> Part:
    figures = _figures()["parts"][name][variant]
    seconds = figures.get("seconds")
    if seconds is None:
        seconds = 1000 * figures["gigabytes"] / figures["rate"]
    return Part(float(seconds), figures["kind"], figures["source"])


def _idle_month(what: str) -> float:
    models, price = _figures()["parts"]["models"], prices()["ebs"]["snapshot_gb_month"]
    stored = {
        "snapshot": models["restored"]["gigabytes"],
        "models": models["restored alone"]["gigabytes"],
    }
    if what in stored:
        return float(stored[what] * price)
    return {"nothing": 0.0, "disk": volume_month()}[what]


def table() -> str:
    """The ways as a Markdown table."""
    return "\n".join(_rows())


def _rows() -> Iterator[str]:
    parts = _figures()["parts"]
    names = " | ".join(part["text"] for part in parts.values())
    yield f"| way | {names} | first picture after | $ a boot | $ a month while idle | setting |"
    yield f"| --- |{' ---: |' * len(parts)} ---: | ---: | ---: | --- |"
    for way in ways():
        cells = " | ".join(f"{p.seconds:.0f} {_MARKS[p.kind]}" for p in way.parts.values())
        yield (
            f"| {way.name} | {cells} | **{way.seconds:.0f} s** | {way.boot_dollars:.3f} | "
            f"{way.idle_month:.2f} | {way.setting} |"
        )


def sources() -> str:
    """One line for each figure: where it comes from."""
    return "\n".join(
        f"- {part['text']}, {variant} ({figures['kind']}): {figures['source']}."
        for part in _figures()["parts"].values()
        for variant, figures in part.items()
        if isinstance(figures, dict)
    )


_COMPARED = ("a group", "a group with a warm pool")


def section() -> str:
    """The section of docs/scaling.md."""
    ebs = prices()["ebs"]
    group, pool = (next(w for w in ways() if w.name == name) for name in _COMPARED)
    models = _figures()["parts"]["models"]
    text = Path(__file__).with_name("boot.md").read_text()
    return text.format(
        table=table(),
        sources=sources(),
        prepare=sum(group.parts[name].seconds for name in ("instance", "image", "models")),
        gib=ebs["volume_gb"],
        mib=ebs["volume_mib_a_second"],
        fetch_large=1000 * LARGE_MODELS / models["fetched"]["rate"],
        restore_large=1000 * LARGE_MODELS / models["restored alone"]["rate"],
        large=LARGE_MODELS,
        saved=group.boot_dollars - pool.boot_dollars,
    )
