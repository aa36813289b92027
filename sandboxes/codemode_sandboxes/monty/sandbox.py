"""The Monty backend: its pools of worker processes, and the jail that may stand around each of them."""

import asyncio
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias
from weakref import WeakSet

from codemode_sandboxes.contract import Capabilities, Diagnostic, Execution, Limits, Program
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.guest.loop import draw_seeds
from codemode_sandboxes.monty.dialect import aprobe, probe
from codemode_sandboxes.monty.session import MontyExecution
from codemode_sandboxes.monty.typecheck import CHECKERS, TypeCheckers
from codemode_sandboxes.monty.workers import Workers

__all__ = ["MontySandbox"]

# Sleeps and readings of the clock that a program may make beyond four for each allowed call.
_SPARE_SUSPENSIONS = 5_000

_Jail: TypeAlias = Literal["bubblewrap"]

# What stands between a program and the host in a jail; root's worker also runs as nobody.
_LAYERS = ("interpreter", "namespaces", "seccomp", "no_new_privs")

_NAME = "monty"
_INSTALL = "Install it: pip install 'codemode-sandboxes[bubblewrap]', or apt-get install bubblewrap"
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
_START_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class _Pool:
    """The processes and runs of one event loop."""

    workers: Workers
    checkers: TypeCheckers
    executions: WeakSet[Execution] = field(default_factory=WeakSet)


class MontySandbox:
    """Monty: a memory-safe interpreter of a Python subset, written in Rust, in a worker process.

    It starts in milliseconds, needs nothing from the operating system, and has no operation that reaches the host.
    Its Python is a subset: `capabilities.gaps` names what is missing, as found out from the installed version.

    A program whose tool is still at work keeps its worker, so `max_workers` bounds the runs open at once.

    Args:
        max_workers: Processes in one event loop's pool, about 1 MB each. Up to four more check types, where
            `type_check` is asked for, with some 30 MB each.
        min_workers: Processes kept ready.
        checkout_timeout: Seconds that `start` waits while all workers are taken.
        binary: The `monty` binary, or a wrapper that runs it with its arguments, for example in a jail of its own, or
            without its standard error, where it notes programs that ran out of memory. None finds the installed one.
        jail: "bubblewrap" runs the workers in jails, so that a fault of the interpreter would still leave a program
            without files, network and other processes. Linux only; a worker then starts in some 20 ms, and calls cost
            what they did.

    Raises:
        SandboxUnavailable: The jail cannot be made here.
    """

    name = "monty"

    def __init__(
        self,
        *,
        max_workers: int = 64,
        min_workers: int = 1,
        checkout_timeout: float = 60.0,
        binary: str | Path | None = None,
        jail: _Jail | None = None,
    ) -> None:
        if not 0 <= min_workers <= max_workers or max_workers < 1:
            raise ValueError(f"0 <= min_workers <= max_workers >= 1 must hold, not {min_workers} and {max_workers}")
        if jail not in (None, "bubblewrap"):
            raise ValueError(f"jail is 'bubblewrap' or None, not {jail!r}")
        self._jail = jail
        self._binary = write_jail_script(binary) if jail is not None else binary
        self._min_workers, self._max_workers, self._checkout_timeout = min_workers, max_workers, checkout_timeout
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the installed version, found out on first use, which takes some 0.2 s. See `aprobe`.

        Raises:
            SandboxUnavailable: Monty's worker does not start.
        """
        found = probe(self._binary)
        return Capabilities(
            language=f"Python {found.python} subset (Monty {found.version})",
            boundary="interpreter" if self._jail is None else "os",
            modules=found.modules,
            gaps=found.gaps,
            enforces=frozenset({"time", "memory", "output", "processes", "files", "network"}),
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers between a program and the host, such as "interpreter", "namespaces", "seccomp"."""
        if self._jail is None:
            return _LAYERS[:1]
        return (*_LAYERS, "nobody") if os.geteuid() == 0 else _LAYERS

    async def aprobe(self) -> Capabilities:
        """Return the capabilities without blocking the event loop."""
        await aprobe(self._binary)
        return self.capabilities

    async def start(self, program: Program, limits: Limits | None = None) -> MontyExecution:
        """Prepare a run, on a worker of its own.

        Raises:
            SandboxUnavailable: No worker starts, or none came free in time.
        """
        limits = limits or Limits()
        _, _, seed = draw_seeds(program.seed)
        worker = await self._pool().workers.open(
            script_name="program.py",
            limits={
                "max_feed_duration_secs": limits.seconds,
                "max_memory": limits.memory_bytes,
                "max_suspensions": 4 * limits.calls + _SPARE_SUSPENSIONS,
            },
            assert_message_annotations=False,
            os_policy={"sleep": "call_host", "datetime": "call_host", "random_start": {"seed": seed}},
        )
        execution = MontyExecution(worker, program, limits)
        # Looked up again: the pool may have been closed while the worker started, and the next `aclose` must find this run.
        self._pool().executions.add(execution)
        return execution

    async def type_check(self, code: str, stubs: str) -> list[Diagnostic]:
        """Check a program's types, without running any of it.

        Args:
            code: A program in script form.
            stubs: Declarations of what it finds when it starts, as in a `.pyi` file: `tools`, above all.

        Returns:
            The diagnostics, in the order of the program.

        Raises:
            SandboxUnavailable: No worker starts, or none came free in time.
            SandboxError: The check took longer than 5 seconds, or the checker died of it.
        """
        return await self._pool().checkers.check(code, stubs)

    async def aclose(self) -> None:
        """End every run of the calling event loop, and its workers."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is None:
            return
        await asyncio.gather(*(execution.aclose() for execution in list(pool.executions)))
        await asyncio.gather(pool.workers.aclose(), pool.checkers.aclose())

    def _pool(self) -> _Pool:
        """Return the running loop's pool; make it where the loop first needs it."""
        # Nobody can close the pool of a loop that has ended: its workers end with the last reference to them.
        for loop in [loop for loop in list(self._pools) if loop.is_closed()]:
            self._pools.pop(loop, None)
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            shared: dict[str, Any] = {"timeout": self._checkout_timeout, "binary": self._binary}
            self._pools[loop] = _Pool(
                workers=Workers(least=self._min_workers, most=self._max_workers, **shared),
                checkers=TypeCheckers(Workers(least=0, most=CHECKERS, **shared)),
            )
        return self._pools[loop]


def write_jail_script(binary: str | Path | None) -> str:
    """Write a script that runs the `monty` binary in a jail, try it, and return its path.

    The script is kept in the user's cache folder, under a name with the hash of its content.

    Args:
        binary: The binary; None finds the installed one.

    Raises:
        SandboxUnavailable: There is no bubblewrap, it cannot make jails here, or the binary cannot run in one.
    """
    # Monty without a jail is the default, and starts in half the time that these take to import.
    from codemode_sandboxes.jail.bubblewrap import packaged_bwrap
    from codemode_sandboxes.jail.sandbox import ALLOW_NAMESPACES
    from codemode_sandboxes.linux.seccomp import build_deny_list
    from codemode_sandboxes.process.sandbox import require_linux

    try:
        require_linux(_NAME)
    except SandboxUnavailable:
        reason = "a jail for its workers needs Linux on x86_64 or aarch64"
        raise SandboxUnavailable(_NAME, reason, "Leave `jail` out") from None
    bwrap = shutil.which("bwrap") or packaged_bwrap()
    if bwrap is None:
        raise SandboxUnavailable(_NAME, "a jail for its workers needs bwrap, which is not installed", _INSTALL)
    try:
        program = Path(_find_binary(binary)).resolve(strict=True)
        filter_file = _keep("filter.bpf", build_deny_list(platform.machine()), mode=0o600)
        script = _keep("worker", _script(bwrap, program, filter_file).encode(), mode=0o700)
        done = subprocess.run(
            [str(script), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_START_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(_NAME, f"its worker cannot be put in a jail ({error})", ALLOW_NAMESPACES) from error
    if done.returncode:
        errors = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise SandboxUnavailable(_NAME, f"its worker does not start in a jail ({errors[-1][:300]})", ALLOW_NAMESPACES)
    return str(script)


def _find_binary(binary: str | Path | None) -> str:
    # The package has no public function for this.
    from pydantic_monty._binary import find_monty_binary

    return find_monty_binary(binary)


def _script(bwrap: str, program: Path, filter_file: Path) -> str:
    from codemode_sandboxes.jail.sandbox import NOBODY, find_setpriv

    become: list[str] = []
    if os.geteuid() == 0:
        # In a user namespace that root makes, the worker would still be root to the kernel.
        if (setpriv := find_setpriv()) is None:
            raise OSError("root needs the command setpriv, of the package util-linux")
        become = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]
        become += ["--bounding-set=-all", "--no-new-privs", "--"]
    walls = [bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    walls += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "guest", "--chdir", "/"]
    for folder in map(Path, _LIBRARIES):
        if folder.is_symlink():
            walls += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            walls += ["--ro-bind", str(folder), str(folder)]
    walls += ["--ro-bind", str(program), "/monty", "--seccomp", "9", "--", "/monty"]
    return f'#!/bin/sh\nexec 9<{shlex.quote(str(filter_file))}\nexec {shlex.join([*become, *walls])} "$@"\n'


def _keep(name: str, content: bytes, *, mode: int) -> Path:
    """Write a file that only this user can read, under a name with the hash of its content; return its path."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "codemode-sandboxes" / "monty"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    if not place.exists() or place.read_bytes() != content:
        # Another process may write, or run, the same file now: it appears whole, by a rename.
        descriptor, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
        Path(temporary).replace(place)
    return place
