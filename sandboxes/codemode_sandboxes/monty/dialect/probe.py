"""The features of the installed Monty, found out by trying it."""

import asyncio
import functools
import inspect
import sys
import threading
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pydantic_monty
from pydantic_monty import Monty, MontyError, MontySession

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.monty.dialect.change import RewrittenGap
from codemode_sandboxes.monty.dialect.library import candidate_names, library_gaps
from codemode_sandboxes.monty.dialect.lower import GAPS
from codemode_sandboxes.monty.dialect.objects import BUILTINS, METHOD_OWNERS, SPECIAL_METHODS, object_gaps
from codemode_sandboxes.monty.dialect.shapes import Shapes, shape_gap, tried_shapes, values_here
from codemode_sandboxes.monty.workers import note_use

__all__ = ["Findings", "aprobe", "probe"]

_LIMITS: Any = {"max_feed_duration_secs": 10, "max_suspensions": 100_000}
_once = threading.Lock()


class Findings(NamedTuple):
    """The features of a version of Monty.

    Attributes:
        version: Of Monty.
        python: The version of Python whose subset it runs.
        modules: Modules that can be imported.
        gaps: What it does not run of programs that `lower` has rewritten.
    """

    version: str
    python: str
    modules: frozenset[str]
    gaps: tuple[Gap, ...]


def probe(binary: str | Path | None = None) -> Findings:
    """Find out, once in a process for each binary, what Monty offers. The first time takes some 0.2 s.

    Raises:
        SandboxUnavailable: The worker does not start, or dies of a probe, or this is a fork; see `note_use`.
    """
    with _once:
        return _probe(binary)


async def aprobe(binary: str | Path | None = None) -> Findings:
    """Find out what `probe` does, in a thread."""
    return await asyncio.to_thread(probe, binary)


@functools.cache
def _probe(binary: str | Path | None) -> Findings:
    note_use()
    try:
        with (
            Monty(binary_path=binary, max_processes=1) as workers,
            workers.checkout(limits=_LIMITS, os_policy={"sleep": "zero"}) as session,
        ):
            modules = _modules(session)
            return Findings(
                version=pydantic_monty.__version__,
                python=_run(session, "import sys\n'.'.join(map(str, sys.version_info[:2]))"),
                modules=frozenset(modules),
                gaps=tuple(_gaps(session, modules)),
            )
    except (MontyError, OSError, RuntimeError) as error:
        remedy = "Reinstall it with `pip install --force-reinstall pydantic-monty`"
        raise SandboxUnavailable("monty", f"its worker cannot be probed ({error})", remedy) from error


def _gaps(session: MontySession, modules: Iterable[str]) -> Iterable[Gap]:
    for gap in GAPS:
        if not _works(session, gap.probe):
            yield gap.open_part() if isinstance(gap, RewrittenGap) else gap
    yield from library_gaps(_missing_names(session, candidate_names(list(modules))))
    special_methods = [
        name
        for name, (definition, check) in SPECIAL_METHODS.items()
        if not _works(session, f"class A:\n    def {name}{definition}\n{check}")
    ]
    yield shape_gap(_shapes(session))
    yield from object_gaps(_missing_builtins(session), _missing_methods(session), special_methods)


def _shapes(session: MontySession) -> Shapes:
    here = values_here()
    tries = [
        f"try:\n    found[{number}] = repr({example})\nexcept Exception:\n    pass"
        for number, example in enumerate(here)
    ]
    imports = "import collections, datetime, decimal, itertools, json, math, re\nfound = {}\n"
    found = _run(session, imports + "\n".join(tries) + "\nfound")
    same = {example for number, (example, value) in enumerate(here.items()) if found.get(number) == value}
    return tried_shapes(same, here.keys() - same)


def _works(session: MontySession, program: str) -> bool:
    try:
        return _run(session, program) is True
    except MontyError as error:
        if isinstance(error, pydantic_monty.MontyCrashedError):
            raise
        return False


def _run(session: MontySession, program: str) -> Any:
    lookup = {"host_function": lambda value: value}
    return session.feed_run(program, external_lookup=lookup, print_callback=lambda stream, text: None)


def _modules(session: MontySession) -> set[str]:
    names = sorted(name for name in sys.stdlib_module_names if not name.startswith("_"))
    tries = [f"try:\n    import {name}\n    found.append('{name}')\nexcept ImportError:\n    pass" for name in names]
    found = set(_run(session, "found = []\n" + "\n".join(tries) + "\nfound"))
    if _works(session, "from __future__ import annotations\nTrue"):
        found.add("__future__")
    return found


def _missing_names(session: MontySession, names: list[str]) -> set[str]:
    modules = sorted({name.partition(".")[0] for name in names})
    # `hasattr` fails for a name whose value the host has to give, such as `os.environ`: such a name is there.
    tries = [
        f"try:\n    {name}\nexcept AttributeError:\n    missing.append('{name}')\nexcept Exception:\n    pass"
        if name.count(".") == 1
        else _call_try(name)
        for name in names
    ]
    imports = "import " + ", ".join(modules)
    return set(_run(session, f"{imports}\nmissing = []\n" + "\n".join(tries) + "\nmissing"))


def _missing_builtins(session: MontySession) -> set[str]:
    tries = [f"try:\n    {name}\nexcept NameError:\n    missing.append('{name}')" for name in BUILTINS]
    # Hashes are others there, which shows where a program writes one out.
    tries.append("if hash(2.5) != 1152921504606846978:\n    missing.append('hash')")
    return set(_run(session, "missing = []\n" + "\n".join(tries) + "\nmissing"))


def _missing_methods(session: MontySession) -> set[str]:
    present: set[str] = set()
    missing: set[str] = set()
    imports = "import collections, datetime, decimal, random, re"
    for expression, example in METHOD_OWNERS.items():
        owner = type(example)
        names = [name for name in dir(owner) if not name.startswith("_") and _is_method(owner, name)]
        tries = [_call_try(f"({expression}).{name}", name) for name in names]
        lost = set(_run(session, f"{imports}\nmissing = []\n" + "\n".join(tries) + "\nmissing"))
        missing |= lost
        present |= set(names) - lost
    # A finder sees a method's name, not its object: a name that some type has must raise no alarm.
    return missing - present


def _is_method(owner: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(owner, name), types.MethodDescriptorType | types.FunctionType)


def _call_try(expression: str, name: str = "") -> str:
    # Monty calls methods that it cannot read as values: only a call shows whether a method is there.
    attribute = expression.rpartition(".")[2]
    return (
        f"try:\n    {expression}()\nexcept AttributeError as e:\n"
        f"    if \"no attribute '{attribute}'\" in str(e):\n        missing.append('{name or expression}')\n"
        "except Exception:\n    pass"
    )
