"""All benchmarks: `python -m benchmarks list | run NAME... | gate OLD NEW | docs`, from the root of the repository."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import store
from benchmarks.machine import ROOT
from benchmarks.registry import BENCHMARKS, Benchmark, render

__all__ = ["app", "fill"]

app = typer.Typer(
    help="Run benchmarks, compare their results, and put them into the documentation.", add_completion=False
)
_BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- /results -->)", re.DOTALL)


@app.command(name="list")
def show() -> None:
    """Show the benchmarks, and the date of the newest results of each."""
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "newest result", "what it measures"):
        table.add_column(heading)
    for each in BENCHMARKS:
        table.add_row(each.name, _date(each.name), each.question)
    Console().print(table)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context) -> None:
    """Run benchmarks, one after another, and write a dated result file of each.

    The arguments are names, as `list` shows them; what follows the last name is passed to each.
    """
    words, known = context.args, {each.name: each for each in BENCHMARKS}
    split = next((place for place, word in enumerate(words) if word not in known), len(words))
    if not split:
        raise typer.BadParameter(f"there is no benchmark {words[0] if words else '(no name)'}; `list` shows them")
    chosen, options = [known[word] for word in words[:split]], words[split:]
    failed = [each.name for each in chosen if (_run if each.writes else _record)(each, options)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        raise typer.Exit(1)


def _run(benchmark: Benchmark, options: list[str]) -> int:
    command = [sys.executable, "-m", benchmark.module, *benchmark.options, *options]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _record(benchmark: Benchmark, options: list[str]) -> int:
    """Run a benchmark that prints its figures; show what it prints, and keep it."""
    results = store.facts()
    start, lines = time.monotonic(), []
    command = [sys.executable, "-u", "-m", benchmark.module, *benchmark.options, *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip("\n"))
    results |= {"arguments": options, "status": process.returncode}
    # The help text of a benchmark, or an error of usage, is no result.
    if process.returncode != 2 and not {"-h", "--help"} & set(options):
        store.write(benchmark.name, {**results, "seconds": round(time.monotonic() - start, 1), "printed": lines})
    return process.returncode


@app.command()
def gate(
    old: Annotated[Path, typer.Argument(help="The result file to compare with.", metavar="OLD", exists=True)],
    new: Annotated[Path, typer.Argument(help="The result file that has to hold.", metavar="NEW", exists=True)],
) -> None:
    """Compare two result files of one benchmark; the exit status is 1 where the new one is worse."""
    command = [sys.executable, "-m", "benchmarks.gate", str(old.resolve()), str(new.resolve())]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


@app.command()
def docs() -> None:
    """Write the tables of the newest results into the pages of the documentation, between their `<!-- results` marks."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        if (filled := fill(text)) != text:
            page.write_text(filled, encoding="utf-8")
            print(page.relative_to(ROOT))


def fill(text: str) -> str:
    """Return the text of a page with every table of results made anew."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{render(block[2])}\n\n{block[3]}", text)


def _date(name: str) -> str:
    try:
        return store.newest_file(name).stem.removeprefix(f"{name}-")
    except FileNotFoundError:
        return "–"


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
