"""The notebooks are run, and print what is stored in them."""

import json

import pytest

from tests.notebooks import FOLDER, outputs

NOTEBOOKS = {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.ipynb"))}


@pytest.mark.parametrize("name", NOTEBOOKS)
async def test_a_notebook_prints_what_it_shows(name: str) -> None:
    count = 0
    async for cell, printed, html in outputs(name, NOTEBOOKS[name]):
        count += 1
        streams = [output for output in cell["outputs"] if output["output_type"] == "stream"]
        assert printed == "".join(line for output in streams for line in output["text"])
        shown = [output for output in cell["outputs"] if output["output_type"] == "execute_result"]
        assert bool(shown) == (html is not None)
    assert count
