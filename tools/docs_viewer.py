"""Fetch the viewer of GET /docs, Swagger UI, from npm and keep it in functions/_viewer/.

functions/_viewer/source.json pins the version, the checksum of npm's archive and those of the files
that are kept. The files are committed, so that neither a deployment nor a test needs npm. Only the
archive is fetched: no script of the package or of its dependencies is run.

--version moves to another version; without it the pinned version is fetched again.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "functions" / "_viewer"
SOURCE = FOLDER / "source.json"
PACKAGE = "swagger-ui-dist"
# The archive's file, and the name under which it is kept, compressed. The name holds the version,
# so that browsers may cache the file for ever.
KEPT = {"swagger-ui-bundle.js": "swagger-ui-{}.js", "swagger-ui.css": "swagger-ui-{}.css"}
LICENCES = ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt")


def main() -> None:
    """Fetch, check and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--version", help="move to this version")
    asked = parser.parse_args().version
    pinned: dict[str, Any] = json.loads(SOURCE.read_text())
    version = asked or pinned["version"]
    archive = _archive(version)
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if not asked and integrity != pinned["integrity"]:
        raise SystemExit(f"npm's {PACKAGE} {version} is not the archive that source.json pins")
    sums = _keep(_files(archive), version)
    source = {"package": PACKAGE, "version": version, "integrity": integrity, "sha256": sums}
    SOURCE.write_text(json.dumps(source, indent=2) + "\n")
    page = FOLDER / "index.html"
    page.write_text(page.read_text().replace(f"-{pinned['version']}.", f"-{version}."))
    print(f"{PACKAGE} {version} is in {FOLDER}")


def _keep(files: Mapping[str, bytes], version: str) -> dict[str, str]:
    """Write the files in place of the old ones; the checksum of each that is served."""
    for path in FOLDER.glob("*.gz"):
        path.unlink()
    for name in LICENCES:
        (FOLDER / name).write_bytes(files[name])
    sums = {}
    for name, pattern in KEPT.items():
        kept = pattern.format(version)
        compressed = gzip.compress(files[name], compresslevel=9, mtime=0)
        (FOLDER / f"{kept}.gz").write_bytes(compressed)
        sums[kept] = hashlib.sha256(files[name]).hexdigest()
    return sums


def _archive(version: str) -> bytes:
    """The archive of the package as npm serves it."""
    npm = Path(sys.executable).with_name("npm")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(npm), "pack", "--silent", f"{PACKAGE}@{version}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        return archive.read_bytes()


def _files(archive: bytes) -> Mapping[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        found = {}
        for name in (*KEPT, *LICENCES):
            member = packed.extractfile(f"package/{name}")
            if member is None:
                raise SystemExit(f"{PACKAGE} has no file {name}")
            found[name] = member.read()
        return found


if __name__ == "__main__":
    main()
