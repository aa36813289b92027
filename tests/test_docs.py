"""The README and the pages of docs/ are run: every Python block, in order, and what it prints is what the page says.

`<!-- model` holds the replies of the models that a page names; `<!-- unseen` is a block that readers need not see.
"""

import ast
import contextlib
import importlib.util
import inspect
import io
import re
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tests.support import scripted

ROOT = Path(__file__).parents[1]
TEXTS = {page.name: page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
_BLOCK = re.compile(
    r"^(?:```python|<!-- unseen)\n(?P<code>.*?)^(?:```|-->)\n(?:\n*^```text\n(?P<printed>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
_MODEL = re.compile(r"^<!-- model\n(.*?)^-->", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if "```python" in text])
async def test_a_page_does_what_it_says(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = TEXTS[page]
    if replies := _MODEL.findall(text):
        monkeypatch.setattr("codemode_graph.model.ask.init_chat_model", lambda *_, **__: scripted(*replies))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    blocks = list(_BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            await execute(block["code"], f"{page}:{text[: block.start()].count(chr(10)) + 2}", namespace)
        assert printed.getvalue() == (block["printed"] or "")


async def execute(code: str, name: str, namespace: dict[str, Any]) -> None:
    """Run a block as a notebook would, with `await` at the top."""
    compiled: CodeType = compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, namespace)
    if inspect.isawaitable(result):
        await result


def test_every_model_reply_of_a_page_is_found() -> None:
    for text in TEXTS.values():
        assert len(_MODEL.findall(text)) == text.count("<!-- model")


def test_the_readme_is_short() -> None:
    assert TEXTS["README.md"].count("\n") <= 150


async def test_the_picture_of_a_run_is_what_a_run_shows() -> None:
    make = load(ROOT / "docs" / "images" / "make.py")
    shown, now = (
        re.sub(r"[\d.]+( |&#160;)ms", "TIME", text) for text in [make.PICTURE.read_text(), await make.terminal()]
    )
    assert "TIME" in shown
    assert re.findall(r"<text[^>]*>([^<]*)", shown) == re.findall(r"<text[^>]*>([^<]*)", now)


def load(path: Path) -> Any:
    """Import a file of docs/."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
