"""The entry of the benchmarks, and the published figures: each comes from a dated result file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import store
from benchmarks.__main__ import app, fill
from benchmarks.figures import figure
from benchmarks.gate import compare, main
from benchmarks.registry import BENCHMARKS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_TABLE = re.compile(r"<!-- results: \S+ -->.*?<!-- /results -->", re.DOTALL)
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`|\]\([^)]*\)|<!--.*?-->", re.DOTALL | re.MULTILINE)
_FIGURE = re.compile(
    r"(?<![\w.])\d[\d,.]*(?: ?(?:%|×|ns|µs|ms|s|MB|kB)(?!\w)| (?:times|per cent|percent|tokens|seconds|milliseconds)\b| of \d+)"
)
"""A number that somebody measured: one with a unit, or a share."""


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- results: " in page.read_text()], ids=lambda path: path.name
)
def test_the_tables_are_those_of_the_newest_results(page: Path) -> None:
    assert fill(page.read_text()) == page.read_text(), "python -m benchmarks docs"


@pytest.mark.parametrize("page", ["README.md", "docs/benchmarks.md"])
def test_a_figure_in_the_text_is_one_of_a_table(page: str) -> None:
    text = (ROOT / page).read_text()
    measured = set(_FIGURE.findall("\n".join(_TABLE.findall((ROOT / "docs" / "benchmarks.md").read_text()))))
    figures = _FIGURE.findall(_CODE.sub("", _TABLE.sub("", text)))
    assert [figure for figure in figures if figure not in measured] == []


def test_every_result_file_is_dated_and_of_a_benchmark() -> None:
    names = {benchmark.name for benchmark in BENCHMARKS}
    for path in store.RESULTS.glob("*.json"):
        found = re.fullmatch(r"(.+)-(\d{4}-\d\d-\d\d)", path.stem)
        assert found is not None, path
        assert found[1] in names, path
        assert json.loads(path.read_text())["date"] == found[2], path


def test_a_run_records_what_a_benchmark_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RESULTS", tmp_path)
    done = CliRunner().invoke(app, ["run", "fuzz-replies", "--", "40"])
    assert done.exit_code == 0, done.output
    results = store.newest("fuzz-replies")
    assert results["arguments"] == ["40"]
    assert results["status"] == 0
    assert results["printed"]
    assert results["machine"]["cores"]


@pytest.mark.parametrize("names", [[], ["no-such"]])
def test_a_name_that_is_none_is_refused(names: list[str]) -> None:
    done = CliRunner().invoke(app, ["run", *names])
    assert done.exit_code == 2
    assert "list" in done.output


def _figures(**medians: float) -> dict[str, Any]:
    return {
        way: {"run": figure([[middle * 0.97, middle, middle * 1.03]] * 3).to_json()} for way, middle in medians.items()
    }


@pytest.mark.parametrize(
    ("ours", "direct", "worse", "better"),
    [
        (1.0, 1.0, [], []),
        (1.04, 1.0, [], []),  # within what the samples scatter
        (1.3, 1.0, ["programs / codemode-graph / run"], []),
        (1.3, 1.3, [], []),  # the machine was slower
        (1.0, 1.3, [], ["programs / codemode-graph / run"]),
        (0.7, 1.0, [], ["programs / codemode-graph / run"]),
    ],
)
def test_the_gate_tells_what_changed_beyond_noise(
    ours: float, direct: float, worse: list[str], better: list[str]
) -> None:
    old = {"programs": _figures(**{"codemode-graph": 1.0, "direct": 1.0})}
    new = {"programs": _figures(**{"codemode-graph": ours, "direct": direct})}
    changes, drift, missing = compare(old, new)
    assert [change.name for change in changes if change.worse] == worse
    assert [change.name for change in changes if change.better] == better
    assert drift == pytest.approx(direct)
    assert missing == []


@pytest.mark.parametrize(("old", "new", "status"), [(100, 95, 0), (100, 70, 1), (100, 150, 0), (100, None, 1)])
def test_of_runs_per_second_more_is_better(old: float, new: float | None, status: int, tmp_path: Path) -> None:
    files = []
    for name, rate in (("old", old), ("new", new)):
        results: dict[str, Any] = {"runs per second": {"8": 50}} | ({} if rate is None else {"calls per second": rate})
        (tmp_path / name).write_text(json.dumps({"machine": {"cores": 2}, "rates": results}))
        files.append(str(tmp_path / name))
    assert main(files) == status
