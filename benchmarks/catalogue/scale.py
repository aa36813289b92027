"""Measures what many tools cost: loading them, the first check and run of a program, the second check, the memory.

Run it from the repository's root: `python -m benchmarks run catalogue-scale FOLDER`. The folder holds what MCP servers
answered, a file a server. Times are of the processor: of this process, and of the type checker's. Each number of tools has a
process of its own, but for further checks, whose figures are held against each other: those take turns in one process.

* The second check is that of the second program that a new type checker sees. It calls a tool that the first does not.
* A later check is that of a program whose tools earlier ones have called.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from codemode_sandboxes import Capabilities
from codemode_sandboxes.monty import MontySandbox

from benchmarks import store
from benchmarks.catalogue.card_facts import read_servers
from benchmarks.machine import ROOT
from codemode_graph import codemode
from codemode_graph.catalogue import Catalogue
from codemode_graph.check import check_program
from codemode_graph.tools.spec import ToolSpec

COUNTS = (10, 100, 1_000)
ROUNDS = 40
KEYS = ("load", "signatures", "first check", "second check", "later check", "first run", "second run", "prompt")


async def _call(arguments: dict[str, Any], config: Any) -> Any:
    return "done"


def read_specs(folder: Path, count: int) -> list[ToolSpec]:
    """Return so many tools, of all servers in turn, each of which answers with a word."""
    servers = [list(specs) for specs in read_servers(folder).values()]
    found: list[ToolSpec] = []
    while len(found) < count and any(servers):
        found += [replace(specs.pop(0), call=_call) for specs in servers if specs]
    return found[:count]


def _tasks(process: int) -> Iterator[Path]:
    """Yield the threads of a process's children, and of theirs."""
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # of a thread that has ended meanwhile
            for child in (task / "children").read_text().split():
                yield from Path(f"/proc/{child}/task").iterdir()
                yield from _tasks(int(child))


def processor_seconds() -> float:
    """Return the processor time of this process and of those that it started and that still run."""
    spent = time.process_time()
    for task in _tasks(os.getpid()):
        with suppress(OSError):
            spent += int((task / "schedstat").read_text().split()[0]) / 1e9
    return spent


def _program(spec: ToolSpec, number: int) -> str:
    return f"async def main():\n    # Program {number}.\n    return await tools[{spec.name!r}](**{{}})\n"


async def _check(catalogue: Catalogue, checker: MontySandbox, capabilities: Capabilities, program: str) -> float:
    """Check a program, and return the seconds."""
    signatures = catalogue.signatures
    before = processor_seconds()
    checked = await check_program(
        program, signatures=signatures, capabilities=capabilities, stubs=catalogue.stubs, type_checker=checker
    )
    spent = processor_seconds() - before
    assert not checked.findings, checked.findings
    return spent


async def measure_checks(folder: Path) -> dict[int, dict[str, float]]:
    """Return the seconds of further checks, by the number of tools: medians of rounds in which all numbers take turns."""
    catalogues = [Catalogue(read_specs(folder, count)) for count in COUNTS]
    # Tools that are in all of the catalogues.
    first, second = catalogues[0].specs[:2]
    capabilities = MontySandbox().capabilities
    found: dict[int, dict[str, list[float]]] = {}
    for number in range(ROUNDS):
        turn = number % len(catalogues)
        for catalogue in [*catalogues[turn:], *catalogues[:turn]]:
            checker = MontySandbox()
            seconds = found.setdefault(len(catalogue.specs), {"second check": [], "later check": []})
            await _check(catalogue, checker, capabilities, _program(first, number))
            seconds["second check"].append(await _check(catalogue, checker, capabilities, _program(second, number)))
            later = _program(first, ROUNDS + number)
            seconds["later check"].append(await _check(catalogue, checker, capabilities, later))
            await checker.aclose()
    return {tools: {key: statistics.median(each) for key, each in all.items()} for tools, all in found.items()}


async def measure(folder: Path, count: int) -> dict[str, Any]:
    """Return the seconds of each step, and the memory in MB, for so many tools."""
    specs = read_specs(folder, count)
    # Tools that take nothing are called by the runs; a program without its arguments is no good one.
    empty = [spec for spec in specs if not spec.input_schema.get("required")][:2]
    before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, dict[str, float]()
    last = processor_seconds()

    def note(name: str) -> None:
        nonlocal last
        now = processor_seconds()
        seconds[name], last = now - last, now

    async with codemode(tools=specs) as cm:
        _ = cm.catalogue.is_searched
        note("load")
        capabilities = await asyncio.to_thread(lambda: cm.sandbox.capabilities)
        last = processor_seconds()
        _ = cm.catalogue.signatures
        note("signatures")
        checker = MontySandbox()
        await _check(cm.catalogue, checker, capabilities, _program(empty[0], 0))
        note("first check")
        await checker.aclose()
        for name in ("first run", "second run"):
            last = processor_seconds()
            result = await cm.run_code(_program(empty[0], len(name)))
            assert result["success"], result["error"]
            note(name)
    last = processor_seconds()
    text = Catalogue(specs).text("List what there is.")
    note("prompt")
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"tools": len(specs), "seconds": seconds, "memory": memory, "prompt characters": len(text)}


def table(results: Any) -> str:
    """Return the table of the documentation."""
    rows = [f"| tools | {' | '.join(KEYS)} | memory |", f"| ---: |{' ---: |' * (len(KEYS) + 1)}"]
    for row in results["rows"]:
        cells = " | ".join(f"{row['seconds'][key] * 1000:.1f} ms" for key in KEYS)
        rows.append(f"| {row['tools']} | {cells} | {row['memory']:.0f} MB |")
    return "\n".join(rows)


def main() -> None:
    """Print the table, and write it to the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue.scale", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the servers' files")
    parser.add_argument("--count", type=int, help="measure one number of tools in this process, and print JSON")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    if arguments.count is not None:
        print(json.dumps(asyncio.run(measure(folder, arguments.count))))
        return
    results = store.facts()
    checks, rows = asyncio.run(measure_checks(folder)), []
    for count in COUNTS:
        command = [sys.executable, "-m", "benchmarks.catalogue.scale", str(folder), "--count", str(count)]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout)
        row["seconds"] |= checks[row["tools"]]
        rows.append(row)
    results = {**results, "rows": rows}
    print(table(results))
    store.write("catalogue-scale", results)


if __name__ == "__main__":
    main()
