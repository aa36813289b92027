"""Programs that live outside this repository, in ../shared: ordinary ones with their answers, and hostile ones."""

import builtins
import importlib.util
import json
import sqlite3
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

_FOLDER = Path(__file__).parents[3] / "shared" / "data" / "sandbox_cases"

needs_cases = pytest.mark.skipif(not _FOLDER.is_dir(), reason="the sandbox cases are not here")


def here() -> bool:
    """Return whether they are beside the repository."""
    return _FOLDER.is_dir()


def load(name: str) -> list[dict[str, Any]]:
    """Return the cases of a file, or none where it is not there."""
    path = _FOLDER / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def fake_tools() -> dict[str, Any]:
    """Return the tools of the ordinary programs, in their first state."""
    spec = importlib.util.spec_from_file_location("faketools", _FOLDER / "faketools.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = ModuleType("faketools")
    module.__builtins__ = {**vars(builtins), "__import__": _import}
    spec.loader.exec_module(module)
    tools: dict[str, Any] = module.make()
    return tools


class _Closing(sqlite3.Connection):
    def __del__(self) -> None:
        self.close()


_CONNECT = partial(sqlite3.connect, factory=_Closing, check_same_thread=False)  # any thread may collect the garbage
_SQLITE = SimpleNamespace(connect=_CONNECT, Error=sqlite3.Error)


def _import(name: str, *rest: Any) -> Any:
    """Import as ever, but for `sqlite3`: the tools leave what they connect to open, and Python 3.13 warns of it."""
    return _SQLITE if name == "sqlite3" else __import__(name, *rest)
