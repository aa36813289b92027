"""The site of mkdocs.yml is built without a warning, and its reference names all that is public."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import codemode_sandboxes
import pytest

import codemode_graph

ROOT = Path(__file__).parents[1]
_DIRECTIVE = re.compile(r"^::: (\S+)$", re.MULTILINE)
NAMES = [name for page in sorted((ROOT / "docs").glob("api*.md")) for name in _DIRECTIVE.findall(page.read_text())]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, where any warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.slow
def test_every_page_of_docs_is_in_the_site(site: Path) -> None:
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert {page.stem for page in site.glob("*.html")} == pages | {"index", "404"}


@pytest.mark.slow
def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loads = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^"'> ]*""")
    for page in site.rglob("*.html"):
        assert loads.findall(page.read_text()) == [], page


@pytest.mark.slow
def test_the_search_finds_pages_and_the_reference(site: Path) -> None:
    found = {entry["location"] for entry in json.loads((site / "search" / "search_index.json").read_text())["docs"]}
    assert {"api-tools.html#codemode_graph.ToolPolicy", "sandboxes.html#threat-model"} <= found


@pytest.mark.parametrize("package", [codemode_graph, codemode_sandboxes], ids=lambda package: package.__name__)
def test_every_public_name_is_in_the_reference(package: Any) -> None:
    assert set(package.__all__) <= {name.rpartition(".")[2] for name in NAMES}


def test_the_reference_names_each_thing_once() -> None:
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_reference_can_be_imported(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)
