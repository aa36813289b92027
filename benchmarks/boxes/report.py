"""The tables of sandboxes in Markdown, from the results of `benchmarks.sandboxes`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.boxes.box import GATHERED
from benchmarks.boxes.subjects import SUBJECTS, Subject
from benchmarks.figures import duration, table

__all__ = ["Target", "docs", "markdown", "targets"]

Figures = Mapping[str, Mapping[str, Any]]
"""A sandbox's figures, as JSON, by measure."""

_READY_SECONDS, _PYODIDE_COLD_SECONDS, _TIMES_BARE, _MONTY_RATE = 0.005, 0.7, 1.2, 200

_COLUMNS = {
    "cold": "cold start",
    "ready": "ready start",
    "loop": "tool call",
    "bare": "bare transport",
    "gather": f"call in a gather of {GATHERED}",
    "rate": "runs/s, 1 · 8 · 64 at once",
    "memory": "memory of a guest, RSS · PSS",
}

_FOOTNOTES = """\
¹ No boundary: it interprets the program in the host's own process, one call after the other.

² It has no tools that a program could call. Its image is that of `docker` with a shell, its end is not waited for."""

_NOTES = """\
* Cold start: from a new sandbox object to the first value, in a process that has imported the package and made no \
sandbox before. What the sandbox looks for on the machine is in it. Python's image for the jails, Pyodide's snapshot and \
Docker's image are there already, and `capabilities` is not asked for.
* Ready start: a guest has had the time to become ready; from `start` to the value of the program `1`. FastMCP and \
smolagents give the value when they have freed what they held.
* Tool call: from one call reaching the host to the next, where the tool answers at once. In a gather: from batch to \
batch, for each call.
* Bare transport: such a call between two plain programs, by the means of the standard library: asyncio's streams and \
event loop and a line of JSON each way, nothing checked, bounded or contained. It goes through the pipes of a child \
process; for docker through the connection to the daemon, for pyodide between Pyodide on node, plain, and asyncio. For \
monty it is the same program, driven through `pydantic_monty` alone.
* Runs per second: of the program `1`, with guests that are new to each run (FastMCP: with a Monty of its own; \
llm-sandbox: with a container of its own).
* Memory: what each of four more guests adds that wait for a tool, to the memory of all the sandbox's processes. RSS \
counts shared pages in each, PSS once. Docker's with containerd's process for each container."""


class Target(NamedTuple):
    """A target, and the figure that is compared with it."""

    subject: str
    measure: str
    what: str
    wanted: str
    found: str
    met: bool


def targets(figures: Mapping[str, Figures]) -> list[Target]:
    """Return the targets, and whether the figures meet them.

    Args:
        figures: The figures, by sandbox.
    """
    rows = []
    for subject in SUBJECTS:
        of, name, title = figures.get(subject.name, {}), subject.name, subject.title
        if not subject.ours:
            continue
        if "ready" in of:
            seconds = of["ready"]["median"]
            met = seconds <= _READY_SECONDS
            rows.append(Target(name, "ready", f"{title}: ready start", "≤ 5 ms", duration(seconds), met))
        if "loop" in of and "bare" in of:
            ratio = of["loop"]["median"] / of["bare"]["median"]
            what, wanted = f"{title}: tool call, of the bare transport", f"≤ {_TIMES_BARE}×"
            rows.append(Target(name, "loop", what, wanted, f"{ratio:.2f}×", ratio <= _TIMES_BARE))
    if cold := figures.get("pyodide", {}).get("cold"):
        seconds = cold["median"]
        met = seconds < _PYODIDE_COLD_SECONDS
        rows.append(Target("pyodide", "cold", "`pyodide`: cold start", "< 700 ms", duration(seconds), met))
    rates = [each["median"] for name, each in figures.get("monty", {}).items() if name.startswith("rate")]
    if rates:
        best = max(rates)
        what, wanted = "`monty`: runs per second", f"≥ {_MONTY_RATE}"
        rows.append(Target("monty", "rate", what, wanted, f"{best:,.0f}", best >= _MONTY_RATE))
    return rows


def markdown(results: Mapping[str, Any]) -> str:
    """Return the report.

    Args:
        results: The results, as in the benchmark's JSON file.
    """
    here, how, figures = results["machine"], results["settings"], results["figures"]
    conditions = (
        f"{results['date']}, codemode-sandboxes at {results['revision'] or 'an unknown commit'}. {here['cpu']}, "
        f"{here['cores']} cores, {here['system']}, {here['python']}; load before {here['load']}, after "
        f"{results['load after']}.\n\n"
        f"Medians, and the range from the first to the third quartile, of {how['rounds']} rounds. In each the sandboxes "
        "take turns, each in a process that is new."
    )
    parts = ["# Sandboxes", conditions, _figures(figures), _FOOTNOTES, _NOTES]
    if rows := targets(figures):
        parts += ["## Targets", _targets(rows)]
    if results["absent"]:
        parts += ["## Left out", "\n".join(f"* {name}: {why}" for name, why in results["absent"].items())]
    parts += ["## Versions", _versions(results["packages"])]
    return "\n\n".join(parts) + "\n"


def docs(results: Mapping[str, Any]) -> str:
    """Return the table for docs/sandboxes.md, with medians alone.

    Args:
        results: As for `markdown`.
    """
    here, figures = results["machine"], results["figures"]
    columns = {name: title for name, title in _COLUMNS.items() if name != "bare"}
    met = {(row.subject, row.measure): row for row in targets(figures)}

    def cell(title: str, column: str) -> str:
        name = _named(title).name
        text, target = _cell(figures[name], column, plain=True), met.get((name, column))
        if target is None:
            return text
        found = f" ({target.found} bare)" if column == "loop" else ""
        return f"{text}{found} {'✓' if target.met else '✗'}"

    conditions = (
        f"{results['date']}, {here['cpu']}, {here['cores']} cores, {here['python']}, load {here['load']}. "
        "✓ and ✗: whether a target is met: a ready start of at most 5 ms; a cold start of Pyodide under 700 ms; a tool call "
        "of at most 1.2 times the bare transport; 200 runs a second in Monty."
    )
    rows = [subject.title for subject in _measured(figures)]
    return "\n\n".join([table("", rows, columns, cell), conditions, _FOOTNOTES])


def _figures(figures: Mapping[str, Figures]) -> str:
    rows = [subject.title for subject in _measured(figures)]
    return table("", rows, _COLUMNS, lambda row, column: _cell(figures[_named(row).name], column, plain=False))


def _measured(figures: Mapping[str, Figures]) -> Sequence[Subject]:
    return [subject for subject in SUBJECTS if subject.name in figures]


def _named(title: str) -> Subject:
    return next(subject for subject in SUBJECTS if subject.title == title)


def _cell(of: Figures, column: str, *, plain: bool) -> str:
    if column == "rate":
        rates = [of.get(f"rate {at_once}") for at_once in (1, 8, 64)]
        return " · ".join("–" if rate is None else _number(rate["median"]) for rate in rates)
    if column == "memory":
        sizes = [of[kind]["median"] for kind in ("rss", "pss") if kind in of]
        return " · ".join(f"{size / 2**20:.1f} MB" for size in sizes) or "–"
    if column not in of:
        return "–"
    figure = of[column]
    middle = duration(figure["median"])
    return middle if plain else f"{middle} ({duration(figure['low'])}–{duration(figure['high'])})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _targets(rows: Sequence[Target]) -> str:
    by_name = {row.what: row for row in rows}
    columns = {"wanted": "wanted", "found": "measured", "met": "met"}

    def cell(row: str, column: str) -> str:
        target = by_name[row]
        return {"wanted": target.wanted, "found": target.found, "met": "yes" if target.met else "**no**"}[column]

    return table("", by_name, columns, cell)


def _versions(packages: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(
        f"* {name}: " + ", ".join(f"{package} {version}" for package, version in named.items())
        for name, named in packages.items()
    )
