"""Measures what bytecode in wheels saves: `python -m benchmarks.pyodide_packages [--package NAME --program CODE]`.

It needs Pyodide (`python -m codemode_sandboxes.pyodide install`), and the package index for the packages.
"""

import argparse
import asyncio
import datetime
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from codemode_sandboxes import Finished, Limits, Program
from codemode_sandboxes.pyodide import PyodideSandbox
from codemode_sandboxes.pyodide.jail import find_jail
from codemode_sandboxes.pyodide.packages import cache_folder, find_pyodide, install_packages, normalize
from codemode_sandboxes.pyodide.snapshot import compile_wheels

from benchmarks.machine import machine

CASES = {
    "python-dateutil": "from dateutil import parser, rrule\nstr(parser.parse('31 January 2024 10:00'))",
    "networkx": "import networkx\nnetworkx.shortest_path(networkx.path_graph(5), 0, 4)",
    "sympy": "import sympy\nstr(sympy.integrate(sympy.sin(sympy.Symbol('x')) ** 2))",
}
RUNS = 5


async def measure(package: str, program: str, prepare: Callable[[Sequence[Path]], None] | None, place: Path) -> str:
    """Return a row: the preparation, the first start (which makes the snapshot), later starts, and the sizes."""
    pyodide, requirements = find_pyodide(None, cache_folder().absolute()), normalize([package])
    began = time.perf_counter()
    packages = install_packages(requirements, pyodide, place, prepare=prepare)
    prepared = time.perf_counter() - began
    sandbox = PyodideSandbox(packages=requirements, cache=place, pyodide=pyodide, spares=0)
    times = []
    try:
        for _ in range(RUNS + 1):
            began = time.perf_counter()
            execution = await sandbox.start(Program(code=program), Limits(seconds=60))
            try:
                event = await execution.advance()
            finally:
                await execution.aclose()
            if not isinstance(event, Finished):
                raise RuntimeError(f"{package}: {event}")
            times.append(time.perf_counter() - began)
    finally:
        await sandbox.aclose()
    size = sum(len(each.wheel) for each in packages) / 1e6
    (snapshot,) = (place / "snapshots").iterdir()
    figures = (prepared, times[0], min(times[1:]))
    sizes = f"{size:.1f} MB | {snapshot.stat().st_size / 1e6:.0f} MB"
    kind = "with bytecode" if prepare is not None else "source alone"
    return f"| {package} | {kind} | {' | '.join(f'{figure:.2f} s' for figure in figures)} | {sizes} |"


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pyodide_packages", description=__doc__)
    parser.add_argument("--package", choices=CASES, action="append", help="only this; may be repeated")
    arguments = parser.parse_args()
    pyodide, jail = find_pyodide(None, cache_folder().absolute()), find_jail("auto", node=None, deno=None)
    print("| package | wheels | prepared | first start | later cold starts | wheels | snapshot |")
    print("| --- | --- | --: | --: | --: | --: | --: |")
    for package in arguments.package or CASES:
        for prepare in (None, partial(compile_wheels, jail, pyodide)):
            with tempfile.TemporaryDirectory() as place:
                print(asyncio.run(measure(package, CASES[package], prepare, Path(place))), flush=True)
    here = machine()
    facts = f"{here['cpu']}, {here['cores']} cores, {here['python']}, jail {jail.name}, load {here['load']}"
    print(f"\n{datetime.date.today()}, {facts}. Of {RUNS} later starts the shortest.")


if __name__ == "__main__":
    main()
