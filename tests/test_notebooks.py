"""The notebooks are run, and print what is stored in them."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.test_docs import execute

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


@pytest.mark.parametrize("name", NOTEBOOKS)
async def test_a_notebook_prints_what_it_shows(name: str) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in NOTEBOOKS[name]["cells"] if cell["cell_type"] == "code"]
    assert cells
    for number, cell in enumerate(cells, start=1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            await execute("".join(cell["source"]), f"{name}[{number}]", namespace)
        shown = "".join(line for output in cell["outputs"] for line in output["text"])
        assert printed.getvalue() == shown
