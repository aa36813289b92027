"""The README and the pages of docs/ are run: every Python block, in order, and what it prints is what the page says.

`<!-- model` holds the replies of the models that a page names; `<!-- unseen` is a block that readers need not see. A block
with a title is a file, and a block `console` has commands, each behind `$`, with what they print on stdout.
"""

import ast
import contextlib
import importlib.util
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tests.support import scripted
from tests.wire.payloads import Reply
from tests.wire.server import Service

ROOT = Path(__file__).parents[1]
TEXTS = {page.name: page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
_BLOCK = re.compile(
    r"^(?:```python|<!-- unseen)\n(?P<code>.*?)^(?:```|-->)\n(?:\n*^```text\n(?P<printed>.*?)^```\n)?"
    r'|^```\w+ title="(?P<file>[^"]+)"\n(?P<content>.*?)^```\n'
    r"|^```console\n(?P<console>.*?)^```\n",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_MODEL = re.compile(r"^<!-- model\n(.*?)^-->", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if _BLOCK.search(text)])
async def test_a_page_does_what_it_says(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = TEXTS[page]
    replies = _MODEL.findall(text)
    if replies:
        monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda *_, **__: scripted(*replies))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    loaded = set(sys.modules)
    with Service(*[Reply(code=reply) for reply in replies]) as service:
        for block in _BLOCK.finditer(text):
            place = f"{page}:{text[: block.start()].count(chr(10)) + 2}"
            if block["file"]:
                write_file(tmp_path / block["file"], block["content"])
            elif block["console"]:
                assert "".join(run_commands(block["console"], service)) == block["console"], place
            else:
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    await execute(block["code"], place, namespace)
                assert printed.getvalue() == (block["printed"] or ""), place
    for name in set(sys.modules) - loaded:  # another page may have a file of the same name
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def write_file(path: Path, content: str) -> None:
    """Write a file that a page shows."""
    path.write_text(content)


def run_commands(console: str, service: Service) -> Iterator[str]:
    """Run the commands of a block in the current folder, and give the block as it is then."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI", "LANGSMITH"))} | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sandboxes")]),
        "XDG_STATE_HOME": str(Path("state").absolute()),
        "OPENAI_API_KEY": service.key,
        "OPENAI_BASE_URL": service.url,
        "COLUMNS": "100",
    }
    for command, _ in _COMMAND.findall(console):
        ended = subprocess.run(command, shell=True, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        assert ended.returncode == 0, command
        yield f"$ {command}\n" + re.sub(r"[ ]+$", "", ended.stdout, flags=re.MULTILINE)


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


def test_links_lead_from_the_readme_to_every_page() -> None:
    todo, reached = ["README.md"], set()
    while todo:
        page = todo.pop()
        if page in TEXTS and page not in reached:
            reached.add(page)
            todo += [Path(link).name for link in re.findall(r"\]\(([\w/.-]+\.md)", TEXTS[page])]
    assert reached == set(TEXTS)


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


def test_every_message_of_the_troubleshooting_page_exists() -> None:
    texts = set()
    for folder in (ROOT / "codemode_graph", ROOT / "sandboxes" / "codemode_sandboxes"):
        for path in folder.rglob("*.py"):
            constants = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
            texts |= {constant.value for constant in constants if isinstance(constant.value, str)}
    sources = "\0".join(texts)
    messages = re.findall(r"^### `(.*)`$", TEXTS["troubleshooting.md"], re.MULTILINE)
    assert messages
    assert [part for message in messages for part in message.split("…") if part.strip(" .,:;") not in sources] == []


def test_every_environment_variable_is_in_the_table_of_settings() -> None:
    name = re.compile(r"\b(?:CODEMODE|XDG|DOCKER|LANGGRAPH)_[A-Z_]+[A-Z]\b")
    folders = [ROOT / "codemode_graph", ROOT / "sandboxes" / "codemode_sandboxes", ROOT / "graphs", ROOT / "scripts"]
    used = {
        found
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in {".py", ""} and path.is_file()
        for found in name.findall(path.read_text())
    }
    used.add("XDG_STATE_HOME")  # platformdirs reads it
    assert used == set(name.findall(TEXTS["settings.md"].partition("## Environment variables")[2]))


def test_every_exit_code_is_in_the_table_of_settings() -> None:
    ways = re.compile(r"(?:typer\.Exit|os\._exit|sys\.exit)\((\d+)\)")
    used = {"0"} | {
        code for path in (ROOT / "codemode_graph" / "cli").glob("*.py") for code in ways.findall(path.read_text())
    }
    table = TEXTS["settings.md"].partition("## Exit codes")[2].partition("\n## ")[0]
    assert used <= set(re.findall(r"\b\d+\b", table))
