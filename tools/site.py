"""Hooks of MkDocs: what docs/ needs to become a site.

Pages of docs/ link to files outside of it, which the site does not have. Such a link becomes the
file's path in the repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MERMAID = ROOT / "tools/documents/node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js"
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the script that draws diagrams; Material would load it from elsewhere."""
    where = "javascripts/mermaid.js"
    files.append(File.generated(config, where, content=MERMAID.read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Replace links that lead out of docs/."""
    folder = (DOCS / page.file.src_uri).parent

    def replaced(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_relative_to(DOCS) and not target.is_relative_to(DOCS / "pipelines"):
            return link[0]
        return f"{link[1]} (`{target.relative_to(ROOT)}`)"

    return _LINK.sub(replaced, markdown)
