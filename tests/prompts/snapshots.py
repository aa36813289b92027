"""Texts kept beside the tests, to be read by people when they change."""

import os
from pathlib import Path

__all__ = ["assert_same"]

_FOLDER = Path(__file__).parent / "snapshots"


def assert_same(name: str, text: str) -> None:
    """Compare a text with the one that is kept. `UPDATE_SNAPSHOTS=1` keeps the new one instead."""
    path = _FOLDER / f"{name}.md"
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        path.write_text(text + "\n", encoding="utf-8")
    assert path.exists(), f"there is no {path.name} yet: run these tests with UPDATE_SNAPSHOTS=1, and read it"
    assert text + "\n" == path.read_text(encoding="utf-8"), f"{path.name}: if it is meant, run with UPDATE_SNAPSHOTS=1"
