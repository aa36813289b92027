"""Dated result files: `results/NAME-DATE.json` for programs, and `results/NAME.md`, the report of the newest."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, machine, revision

__all__ = ["RESULTS", "facts", "newest", "newest_file", "write"]

RESULTS = ROOT / "benchmarks" / "results"
"""The folder of the published results."""


def facts() -> dict[str, Any]:
    """Return what every result file opens with: the date, the commit, and the machine with its load."""
    return {"date": date.today().isoformat(), "revision": revision(), "machine": machine()}


def write(name: str, results: Mapping[str, Any], report: str | None = None, *, folder: Path | None = None) -> Path:
    """Write the results of one day, in place of an earlier run of that day.

    Args:
        name: The benchmark's name.
        results: JSON values, with a `date`.
        report: The report in Markdown, where there is one; it takes the place of that of an earlier day.
        folder: Where the files go: by default among the published results.

    Returns:
        The file of the results.
    """
    folder = RESULTS if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{results['date']}.json"
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if report is not None:
        (folder / f"{name}.md").write_text(report, encoding="utf-8")
    return path


def newest_file(name: str, *, folder: Path | None = None) -> Path:
    """Return the newest result file of a benchmark.

    Raises:
        FileNotFoundError: There is none.
    """
    files = sorted((folder or RESULTS).glob(f"{name}-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].json"))
    if not files:
        raise FileNotFoundError(f"there is no result of {name}: python -m benchmarks run {name} makes one")
    return files[-1]


def newest(name: str, *, folder: Path | None = None) -> dict[str, Any]:
    """Return the newest results of a benchmark; `newest_file` says what it raises."""
    results: dict[str, Any] = json.loads(newest_file(name, folder=folder).read_text(encoding="utf-8"))
    return results
