"""The report on the overhead, in Markdown."""

from collections.abc import Mapping
from typing import Any

from benchmarks.figures import Figure, duration, ratio, table
from benchmarks.peers.shop import EXPECTED, GATHERED, LISTED, LOOPED_FAR

__all__ = ["markdown"]

PLAIN = {
    "direct": "direct calls",
    "codemode-graph": "codemode-graph",
    "fastmcp": "FastMCP CodeMode",
    "smolagents": "smolagents executor ¹",
}
WITH_MODEL = {"codemode-graph task": "codemode-graph", "smolagents agent": "smolagents CodeAgent ¹"}
ONE_CALL = {"a loop": "one call in a loop", "a gather": f"one of {GATHERED} calls in a gather"}

NOTES = f"""\
¹ smolagents runs synchronous programs only: it calls the same functions one after another where the others gather \
("{GATHERED} calls in a gather", "list {LISTED}, get each, ..."). Its executor interprets the program inside the host's \
own process, and its documentation says that it is no security boundary; the other two run it in a process of its own.

FastMCP has no model of its own: a client's model calls `execute`, so it has no column in the second table."""


def markdown(
    facts: Mapping[str, Any], programs: Mapping[str, Mapping[str, Figure]], calls: Mapping[str, Mapping[str, Figure]]
) -> str:
    """Write the report.

    Args:
        facts: `date`, `revision`, `machine`, `settings`, `packages`, `start`.
        programs: Figures of whole runs, by way and program.
        calls: Figures of one call, by way and "a loop" or "a gather".
    """
    plain = {way: title for way, title in PLAIN.items() if way in programs}
    modelled = {way: title for way, title in WITH_MODEL.items() if way in programs}
    parts = ["# Overhead of a run and of a call", _conditions(facts)]
    if plain:
        parts += ["## A program, to its value", _figures("program", list(EXPECTED), plain, programs)]
    if modelled:
        parts += [
            "## A task, to its value, with a scripted model that answers at once",
            _figures("program that the model writes", list(EXPECTED), modelled, programs),
        ]
    if plain:
        parts += [
            "## One tool call",
            f"In a loop: what each of the {LOOPED_FAR - 1} calls after the first adds to a run. In a gather: what a run "
            f"takes longer with {GATHERED} calls than with none, for each.",
            _figures("", list(ONE_CALL), plain, calls, titles=ONE_CALL),
        ]
    for base, title in (("direct", "direct calls"), ("codemode-graph", "codemode-graph")):
        others = {way: name for way, name in plain.items() if way not in (base, "direct")}
        if base in plain and others:
            parts += [
                f"## Times as long as {title}",
                "By the medians, and in brackets by the shortest runs, which other work on the machine disturbs least.",
                _ratios(base, others, programs, calls),
            ]
    parts += ["## Start", _start(facts["start"]), NOTES, "## Versions", _versions(facts["packages"])]
    return "\n\n".join(parts) + "\n"


def _conditions(facts: Mapping[str, Any]) -> str:
    here, how = facts["machine"], facts["settings"]
    return (
        f"{facts['date']}, codemode-graph at {facts['revision'] or 'an unknown commit'}. {here['cpu']}, "
        f"{here['cores']} cores, {here['system']}, {here['python']}; load before {here['load']}, after "
        f"{facts['load after']}.\n\n"
        f"Median, and the range from the first to the third quartile, of {how['sessions']} sessions (new processes "
        f"each) × {how['rounds']} rounds (the systems take turns) × {how['samples']} runs, after runs that warm up."
    )


def _figures(
    corner: str,
    rows: list[str],
    columns: Mapping[str, str],
    figures: Mapping[str, Mapping[str, Figure]],
    *,
    titles: Mapping[str, str] | None = None,
) -> str:
    names = {titles[row] if titles else row: row for row in rows}
    lines = table(corner, names, columns, lambda row, way: str(figures[way][names[row]]))
    return f"{lines}\n{_spread(columns, rows, figures)}"


def _spread(columns: Mapping[str, str], rows: list[str], figures: Mapping[str, Mapping[str, Figure]]) -> str:
    """A last row: how far the sessions are apart at most."""

    def widest(way: str) -> str:
        sessions = [figures[way][row].sessions for row in rows]
        if any(min(each) <= 0 for each in sessions):
            return "too noisy"
        return f"{max(max(each) / min(each) - 1 for each in sessions):.0%}"

    return "| *sessions' medians apart by up to* | " + " | ".join(f"*{widest(way)}*" for way in columns) + " |"


def _ratios(
    base: str,
    columns: Mapping[str, str],
    programs: Mapping[str, Mapping[str, Figure]],
    calls: Mapping[str, Mapping[str, Figure]],
) -> str:
    rows = [*EXPECTED, *ONE_CALL.values()]
    of_call = {title: name for name, title in ONE_CALL.items()}

    def cell(row: str, way: str) -> str:
        figures = calls if row in of_call else programs
        name = of_call.get(row, row)
        return ratio(figures[way][name], figures[base][name])

    return table("", rows, columns, cell)


def _start(start: Mapping[str, Mapping[str, float]]) -> str:
    """How long it takes to begin, by way."""
    stages = {"import": "import", "open": "open", "first run": "first run, 1 call"}
    rows = [way for way in start if way != "direct"]
    return table("", rows, stages, lambda way, stage: duration(start[way][stage]))


def _versions(packages: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(
        f"* {system}: " + ", ".join(f"{name} {version}" for name, version in named.items())
        for system, named in packages.items()
    )
