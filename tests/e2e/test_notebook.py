"""The notebook of the docs: its cells run in order, and show what their text says."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

from localcloud.state import ROOT, Endpoints

NOTEBOOK = ROOT / "docs" / "notebooks" / "quickstart.ipynb"


def run(cell: str, names: dict[str, Any]) -> dict[str, Any]:
    """What a notebook shows below the cell: its last line, if that is an expression."""
    *before, last = ast.parse(cell).body
    exec(compile(ast.Module(before, []), str(NOTEBOOK), "exec"), names)
    if not isinstance(last, ast.Expr):
        exec(compile(ast.Module([last], []), str(NOTEBOOK), "exec"), names)
        return {}
    value = eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)
    show = getattr(value, "_repr_mimebundle_", None)
    return show(include=None, exclude=None) if show else {}


def test_the_notebook_holds_no_output_of_an_earlier_run() -> None:
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_cells_run_and_show_pictures(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMFYLINE_URL", endpoints.api_url)
    monkeypatch.setenv("COMFYLINE_WS_URL", endpoints.ws_url)
    monkeypatch.setenv("COMFYLINE_API_KEY", endpoints.api_key)
    cells = [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
    names: dict[str, Any] = {}
    shown = [run("".join(cell["source"]), names) for cell in cells]
    assert shown[1]["text/html"].count('<img src="http') == 1
    assert shown[2]["image/png"] == names["pictures"][0].base64()
    assert capsys.readouterr().out.count("succeeded") == 4
    assert shown[4]["text/html"].count('<img src="data:image/png;base64,') == 1
