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
_UNIT = r"(?: ?(?:%|×|ns|µs|ms|s|MB|MiB|kB|KiB|GB|GiB)(?!\w)| (?:times|per cent|percent|points|bytes|tokens|runs|effects|deliveries|kills|(?:milli)?seconds)\b)"
_PART = r"(?:third|quarter|fifth|sixth|seventh|eighth|ninth|tenth|twentieth)s?"
_FIGURE = re.compile(
    rf"(?<![\w.,])\d[\d,.]*(?:{_UNIT}| of \d[\d,.]*)|\b(?:a|one|two|three) {_PART}(?= of\b| less\b| more\b|[,.;])"
)
"""A number that somebody measured: one with a unit, or a share."""
_CELL = re.compile(r"(?<=\| )[−-]?\d[\d,.]*(?= +\|)")
_MARK = re.compile(r"<!-- figures: (.+?) -->\s*(?=\S)")
_MARKS = {
    "quoted": "measured by others, who are named beside it",
    "bounds": "a limit or a default that the code sets",
    "counted": "counted anew by a test, or by a script that is named beside it",
    "not recorded": "of runs that wrote no result file",
}
_UNRECORDED = {"journal.md"}
"""The pages that still have figures of runs that wrote no result file. Their number only falls."""


def _figures_of(text: str) -> list[str]:
    """Return the figures of a text, each in one spelling."""
    cells = [cell for line in text.splitlines() if line.startswith("|") for cell in _CELL.findall(line)]
    return [re.sub(r"[ ,]+|[,.]$", "", figure) for figure in (*_FIGURE.findall(text), *cells)]


def _unmarked(text: str) -> str:
    """Return a page without tables of results, code, and the blocks that a mark before them excuses."""
    text = _TABLE.sub("\n", text)
    blocks = re.split(r"\n{2,}", re.sub(r"(<!-- figures: .+? -->)\s+", r"\1 ", text))
    return _CODE.sub("", "\n\n".join(block for block in blocks if not _MARK.match(block)))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- results: " in page.read_text()], ids=lambda path: path.name
)
def test_the_tables_are_those_of_the_newest_results(page: Path) -> None:
    assert fill(page.read_text()) == page.read_text(), "python -m benchmarks docs"


@pytest.fixture(scope="module")
def measured() -> set[str]:
    """The figures of all tables of results, and of the reports beside the result files."""
    tables = [table for page in PAGES for table in _TABLE.findall(page.read_text())]
    return set(_figures_of("\n".join([*tables, *(path.read_text() for path in store.RESULTS.glob("*.md"))])))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_figure_in_the_text_is_one_of_a_result_file(page: Path, measured: set[str]) -> None:
    """Show the figures without a source: quote a table's, or write `<!-- figures: MARK -->` before the block."""
    assert [figure for figure in _figures_of(_unmarked(page.read_text())) if figure not in measured] == [], _MARKS


def test_a_mark_names_a_source_that_there_is() -> None:
    marks = {page.name: set(re.findall(r"<!-- figures: (.+?) -->", page.read_text())) for page in PAGES}
    assert set().union(*marks.values()) <= set(_MARKS)
    assert {page for page, found in marks.items() if "not recorded" in found} == _UNRECORDED


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("It takes 3.5 ms, and 1,200 tokens; 19 of 20 pass.", ["3.5ms", "1200tokens", "19of20"]),
        ("It saves 28 %, a fifth of the cost, in Python 3.13.", ["28%", "a fifth".replace(" ", "")]),
        ("| loop | 0.76 | a |\n| gather | 12 | b |", ["0.76", "12"]),
        ("A second one, a third party, 4 tools.", []),
        ("<!-- figures: bounds -->\n\nIt is 30 seconds.\n\nIt is 40 seconds.", ["40seconds"]),
        ("`sleep 5 s` and [5 ms](5 ms.md)", ["5ms"]),
    ],
)
def test_a_figure_is_found(text: str, figures: list[str]) -> None:
    assert _figures_of(_unmarked(text)) == figures


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
