"""The benchmarks by name, and the tables of the documentation that are made of their results."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import commits, machines, ray_cluster, small_model, soak, store, throughput
from benchmarks.boxes import report as sandboxes
from benchmarks.catalogue import by_model, scale
from benchmarks.catalogue import table as catalogue_table
from benchmarks.figures import duration, table
from benchmarks.oracle import report as oracle
from benchmarks.peers.tools import EXPECTED

__all__ = ["BENCHMARKS", "Benchmark", "render"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: Its name on the command line, and in the names of its result files.
        module: The module that is run.
        question: What it measures, in one line.
        options: The options that it has before those of the command line.
        writes: True where it writes its result file itself; of the others the entry records what they print.
        tables: The tables of the documentation, by name, each made of the newest results.
    """

    name: str
    module: str
    question: str
    options: tuple[str, ...] = ()
    writes: bool = False
    tables: Mapping[str, Callable[[Any], str]] | None = None


def _conditions(results: Mapping[str, Any]) -> str:
    here = results["machine"]
    processor = ", ".join(str(here[name]) for name in ("cpu", "python") if name in here)
    return f"{results['date']}, commit {results['revision'] or 'not recorded'}, " + ", ".join(
        part for part in (processor, f"{here['cores']} cores, load {here['load']}") if part
    )


def _overhead(results: Mapping[str, Any]) -> str:
    columns = {"direct": "direct calls", "codemode-graph": "codemode-graph", "fastmcp": "FastMCP CodeMode"} | {
        "pydantic-ai-harness": "pydantic-ai-harness",
        "microsoft": "Microsoft's Monty provider",
        "smolagents": "smolagents executor",
    }
    figures = results["processor"]
    shown = table("program", EXPECTED, columns, lambda row, way: duration(figures[way][row]["median"]))
    kept = {way: figures[way] for way in figures if way.startswith("codemode-graph") and "task" not in way}
    names = dict(zip(kept, ("journal in memory", "journal in SQLite", "a graph with a checkpointer"), strict=True))
    ours = table("codemode-graph", EXPECTED, names, lambda row, way: duration(kept[way][row]["median"]))
    return (
        f"{shown}\n\n{ours}\n\n{_conditions(results)}. Medians of processor time, that of the processes below included."
    )


_PEERS = {
    "fastmcp": "beside FastMCP CodeMode",
    "pydantic-ai-harness": "beside pydantic-ai-harness",
    "microsoft": "beside Microsoft's provider",
    "smolagents": "beside smolagents' executor",
}


def _ratios(results: Mapping[str, Any]) -> str:
    """Return our time, and as a multiple of each peer's."""
    figures = results["processor"]

    def cell(row: str, way: str) -> str:
        ours = figures["codemode-graph"][row]["median"]
        return duration(ours) if way == "codemode-graph" else f"{ours / figures[way][row]['median']:.2f}×"

    shown = table("program", EXPECTED, {"codemode-graph": "codemode-graph", **_PEERS}, cell)
    return f"{shown}\n\n{_conditions(results)}. Medians of processor time; below 1 is less than the other takes."


def _printed(results: Mapping[str, Any]) -> str:
    """Return the table that a benchmark printed."""
    shown = "\n".join(line for line in results["printed"] if line.startswith("|"))
    return f"{shown}\n\n{_conditions(results)}."


def _journal(results: Mapping[str, Any]) -> str:
    found = results["seconds a call"]
    kinds = list(next(iter(found.values())))
    rows = {f"{way}, {int(calls):,}": (way, calls) for way in found for calls in found[way]["none"]}

    def cell(row: str, kind: str) -> str:
        way, calls = rows[row]
        return duration(found[way][kind][calls]["processor"])

    shown = table("calls in the run", rows, {kind: kind for kind in kinds}, cell)
    return f"{shown}\n\n{_conditions(results)}. The processor time that one call adds; the shortest runs."


def _commits(results: Mapping[str, Any]) -> str:
    return f"{commits.docs(results)}\n\n{_conditions(results)}. Medians of processor time."


BENCHMARKS = (
    Benchmark(
        name="overhead",
        module="benchmarks.overhead",
        question="the time of a run and of a call, beside four other systems",
        writes=True,
        tables={"overhead": _overhead, "overhead-ratios": _ratios},
    ),
    Benchmark(
        name="overhead-parts",
        module="benchmarks.overhead",
        options=("--profile",),
        question="where our own time of a run goes",
        tables={"overhead-parts": _printed},
    ),
    Benchmark(
        name="commits",
        module="benchmarks.commits",
        options=("ed05402",),
        question="the time of a run before and after work on it, from one machine and one day",
        writes=True,
        tables={"commits": _commits},
    ),
    Benchmark(
        name="sandboxes",
        module="benchmarks.sandboxes",
        question="starts, calls, runs per second and memory of each sandbox",
        writes=True,
        tables={"sandboxes": sandboxes.docs},
    ),
    Benchmark(
        name="journal",
        module="benchmarks.journal",
        question="what the journal costs as a run makes more calls",
        writes=True,
        tables={"journal": _journal},
    ),
    Benchmark(
        name="throughput",
        module="benchmarks.throughput",
        question="runs per second, what runs that wait hold, and a call of a long run",
        writes=True,
        tables={"throughput": lambda results: f"{throughput.markdown(results)}\n\n{_conditions(results)}."},
    ),
    Benchmark(name="journal-append", module="benchmarks.journal_append", question="one append in each journal"),
    Benchmark(
        name="small-model",
        module="benchmarks.small_model",
        question="tasks that a small model solves with programs, tool calls and other systems; it needs --base-url and --model",
        writes=True,
        tables={
            "small-model": lambda results: (
                f"{small_model.arms_of(results, 'report')}\n\n{small_model.conditions(results)}"
            ),
            "small-model-rounds": lambda results: small_model.rounds_of(results, "tuning"),
        },
    ),
    Benchmark(
        name="soak",
        module="benchmarks.soak",
        question="what many runs leave behind in the host",
        writes=True,
        tables={"soak": lambda results: soak.markdown(results).partition("\n")[2].strip()},
    ),
    Benchmark(
        name="oracle",
        module="benchmarks.oracle",
        question="programs for the tasks of AgentDojo, tau2 and BFCL, in sandboxes; tokens of five ways to do them",
        writes=True,
        tables={
            "oracle": lambda results: f"{oracle.programs_table(results)}\n\n{_conditions(results)}.",
            "tokens": oracle.account_table,
            "tokens-cost": lambda results: oracle.account_table(results, "cost"),
            "tokens-warm": lambda results: oracle.account_table(results, "warm"),
            "tokens-sets": oracle.sets_table,
            "tokens-even": oracle.break_even,
        },
    ),
    Benchmark(
        name="observed-types",
        module="benchmarks.observed_types",
        question="first programs that are right where no tool declares its result, before and after one run",
        tables={"observed-types": _printed},
    ),
    Benchmark(name="chaos", module="benchmarks.chaos", question="effects that happen twice or get lost"),
    Benchmark(
        name="float-texts",
        module="benchmarks.float_texts",
        question="floats whose last digit Monty writes otherwise",
        tables={"float-texts": _printed},
    ),
    Benchmark(
        name="handover",
        module="benchmarks.handover",
        question="a run that goes on in another sandbox, beside one that stays",
        tables={"handover": _printed},
    ),
    Benchmark(name="fuzz-python", module="benchmarks.fuzz_python", question="programs that differ on Monty"),
    Benchmark(name="fuzz-replies", module="benchmarks.fuzz_replies", question="replies that are read wrongly"),
    Benchmark(name="fuzz-types", module="benchmarks.fuzz_types", question="right programs that the check refuses"),
    Benchmark(name="fuzz-values", module="benchmarks.fuzz_values", question="values that arrive as others"),
    Benchmark(
        name="catalogue",
        module="benchmarks.catalogue",
        question="tools that a search finds; it needs --catalogues",
        tables={"catalogue": _printed},
    ),
    Benchmark(
        name="catalogue-scale",
        module="benchmarks.catalogue.scale",
        question="loading, checking and running with many tools; it needs the catalogues' folder",
        writes=True,
        tables={
            "catalogue-scale": lambda results: f"{scale.table(results)}\n\n{_conditions(results)}. Processor time."
        },
    ),
    Benchmark(
        name="catalogue-table",
        module="benchmarks.catalogue.table",
        question="all cards against a catalogue, with a scripted model; it needs the catalogues' folder",
        writes=True,
        tables={"catalogue-table": lambda found: f"{catalogue_table.table(found)}\n\n{_conditions(found)}."},
    ),
    Benchmark(
        name="catalogue-by-model",
        module="benchmarks.catalogue.by_model",
        question="the same with a real model; it needs the catalogues' folder, --base-url and --model",
        writes=True,
        tables={
            "catalogue-by-model": lambda found: f"{by_model.table(found)}\n\n{found['model']}, {_conditions(found)}."
        },
    ),
    Benchmark(
        name="ray",
        module="benchmarks.ray_cluster",
        question="programs on Ray beside the same here",
        writes=True,
        tables={
            "ray": lambda results: (
                f"{ray_cluster.times_table(results)}\n\n{_conditions(results)}, {results['priority']}."
            )
        },
    ),
    Benchmark(
        name="ray-kills",
        module="benchmarks.ray_cluster",
        options=("--rounds", "0", "--kills", "300"),
        question="payments lost or made twice while hosts on Ray are killed",
        writes=True,
        tables={"ray-kills": lambda results: f"{ray_cluster.kills_table(results)}\n\n{_conditions(results)}."},
    ),
    Benchmark(
        name="machines",
        module="benchmarks.machines",
        question="threads that processes share over PostgreSQL, of which one is killed",
        writes=True,
        tables={"machines": lambda results: f"{machines.markdown(results)}\n\n{_conditions(results)}."},
    ),
    Benchmark(name="serve-load", module="benchmarks.serve_load", question="a server under many clients"),
    Benchmark(
        name="pyodide-packages",
        module="benchmarks.pyodide_packages",
        question="what bytecode saves when Pyodide starts",
        tables={"pyodide-packages": _printed},
    ),
)


def render(name: str) -> str:
    """Return a table of the documentation, by its name, from the newest results of its benchmark.

    Raises:
        KeyError: There is no table of that name.
        FileNotFoundError: The benchmark has no results.
    """
    for benchmark in BENCHMARKS:
        if benchmark.tables and name in benchmark.tables:
            return benchmark.tables[name](store.newest(benchmark.name)).strip()
    raise KeyError(name)
