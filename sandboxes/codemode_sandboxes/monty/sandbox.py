"""The Monty backend."""

import os
from pathlib import Path

from codemode_sandboxes.contract import Capabilities, Diagnostic, Limits, Program
from codemode_sandboxes.monty.dialect import aprobe, probe
from codemode_sandboxes.monty.jail import LAYERS, MontyJail, jailed
from codemode_sandboxes.monty.pool import Pools
from codemode_sandboxes.monty.session import MontyExecution

__all__ = ["MontySandbox"]

_SPARE_SUSPENSIONS = 5_000


class MontySandbox:
    """Runs programs in Monty: a memory-safe interpreter of a Python subset, written in Rust, in a worker process.

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
        jail: MontyJail | None = None,
    ) -> None:
        if not 0 <= min_workers <= max_workers or max_workers < 1:
            raise ValueError(f"0 <= min_workers <= max_workers >= 1 must hold, not {min_workers} and {max_workers}")
        if jail not in (None, "bubblewrap"):
            raise ValueError(f"jail is 'bubblewrap' or None, not {jail!r}")
        self._jail = jail
        self._binary = binary = jailed(binary) if jail is not None else binary
        self._pools = Pools(
            min_workers=min_workers, max_workers=max_workers, checkout_timeout=checkout_timeout, binary=binary
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the installed version offers; found out on first use, which takes some 0.2 s. See `aprobe`.

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
        """What stands between a program and the host, such as "interpreter", "namespaces", "seccomp"."""
        if self._jail is None:
            return LAYERS[:1]
        return (*LAYERS, "nobody") if os.geteuid() == 0 else LAYERS

    async def aprobe(self) -> Capabilities:
        """Give the capabilities without keeping the event loop waiting."""
        await aprobe(self._binary)
        return self.capabilities

    async def start(self, program: Program, limits: Limits | None = None) -> MontyExecution:
        """Prepare a run, on a worker of its own.

        Raises:
            SandboxUnavailable: No worker starts, or none came free in time.
        """
        limits = limits or Limits()
        worker = await self._pools.checkout(
            script_name="program.py",
            limits={
                "max_feed_duration_secs": limits.seconds,
                "max_memory": limits.memory_bytes,
                "max_suspensions": 4 * limits.calls + _SPARE_SUSPENSIONS,
            },
            assert_message_annotations=False,
            os_policy={"sleep": "call_host", "datetime": "call_host", "random_start": {"seed": program.seed}},
        )
        execution = MontyExecution(worker, program, limits)
        self._pools.add(execution)
        return execution

    async def type_check(self, code: str, stubs: str) -> list[Diagnostic]:
        """Check a program's types, without running any of it.

        Args:
            code: A program in script form.
            stubs: Declarations of what it finds when it starts, as in a `.pyi` file: `tools`, above all.

        Returns:
            What the checker found, in the order of the program.

        Raises:
            SandboxUnavailable: No worker starts, or none came free in time.
            SandboxError: The check took longer than 5 seconds, or the checker died of it.
        """
        return await self._pools.checkers.check(code, stubs)

    async def aclose(self) -> None:
        """End every run of the calling event loop, and its workers."""
        await self._pools.aclose()
