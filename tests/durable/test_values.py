"""Where values are kept that are too big for the state."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from codemode_graph.calls.values import Values, is_reference


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"codemode-graph-values-{os.geteuid()}"


def test_a_value_in_a_file_can_be_read_by_its_owner_alone_and_only_by_its_run(folder: Path) -> None:
    values = Values(run_id="r1", inline_bytes=10)
    kept = asyncio.run(values.keep("x" * 100))
    assert is_reference(kept)
    assert asyncio.run(values.load(kept)) == "x" * 100
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for handle in (kept["codemode_reference"], "r2-../../etc/passwd", "r2-0"):
        with pytest.raises(KeyError):
            asyncio.run(Values(run_id="r2").fetch(handle))


def test_a_value_that_looks_like_a_reference_is_kept_as_what_it_is(folder: Path) -> None:
    values = Values(run_id="r1")
    forged = {"codemode_reference": "r2-0", "bytes": 1, "shape": "str", "sample": "x"}
    kept = asyncio.run(values.keep(forged))
    assert kept != forged
    assert asyncio.run(values.load(kept)) == forged


def test_a_folder_that_others_can_read_or_that_leads_elsewhere_is_not_used(folder: Path, tmp_path: Path) -> None:
    values = Values(run_id="r1", inline_bytes=10)
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="remove it, or give the graph a store"):
        asyncio.run(values.keep("x" * 100))
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        asyncio.run(values.keep("x" * 100))
