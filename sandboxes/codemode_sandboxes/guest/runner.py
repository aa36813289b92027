"""Runs one program, from the host's `run` frame to the last frame."""

import ast
import asyncio
import builtins
import inspect
import io
import math
import os
import sys
import traceback
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from codemode_sandboxes.guest.clock import Clock
from codemode_sandboxes.guest.link import Deadlock, Host, Tools
from codemode_sandboxes.guest.loop import GuestLoop, seed_everything
from codemode_sandboxes.guest.output import (
    FILENAME,
    Failure,
    describe,
    last_line,
    show_source,
    text_stream,
    waiting_line,
)
from codemode_sandboxes.guest.wire import Wire, dumps

__all__ = ["address_space", "confine", "harden", "serve"]

_RESERVE = 2 << 20
_ANSWER = b'{"type":"resume","outcomes":[[1,"returned",{}]],"elapsed":null}\n'


def serve(wire: Wire, clock: Clock, confine: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Say that this guest is ready, run the program that the host sends, and end the process.

    Args:
        wire: Carries the frames.
        clock: The clock that `install` put in place.
        confine: Sets the process's own limits, given the host's; called before the program is compiled.
    """
    _warm_up(wire, clock)
    reserve = [bytes(_RESERVE)]  # address space: what is left to say that the memory is used up
    wire.send(dumps({"type": "ready"}))
    run = wire.receive()
    confine(run["limits"])
    clock.now = run["now"]
    clock.advance(run["elapsed"])
    seed_everything(run["seed"])
    host = Host(wire, clock, run["limits"])
    clock.wait = host.block
    namespace = _namespace(run, host)
    loop = GuestLoop(clock, host.block)
    asyncio.set_event_loop(loop)
    main: list[asyncio.Task[Any]] = []
    try:
        try:
            body, last, line = compile_program(run["code"])
        except (SyntaxError, ValueError, RecursionError) as error:
            host.fail(describe(error, kind="syntax"))
        main.append(loop.create_task(_run(body, last, namespace)))
        result = loop.run_until_complete(main[0])
        try:
            value = host.encode(result, "the program's value: ")
        except (TypeError, ValueError) as error:
            failure = describe(error)
            failure.line = line
            host.fail(failure)
        host.ended = True
        _cancel_rest(loop)
        host.finish(value)
    except Deadlock:
        message = "deadlock: the program waits for something that no tool call and no timer will bring"
        host.fail(Failure("program", "RuntimeError", message, waiting_line(main[0].get_coro())))
    except MemoryError as error:
        reserve.clear()
        line = last_line(error.__traceback__)
        traceback.clear_frames(error.__traceback__)
        namespace.clear()
        limit = run["limits"]["memory_bytes"] / 2**20
        host.fail(Failure("memory", "MemoryError", f"the program used more than its {limit:.4g} MB of memory", line))
    except BaseException as error:
        reserve.clear()
        host.fail(describe(error))


def _warm_up(wire: Wire, clock: Clock) -> None:
    """Run a program of our own, with a tool call that it answers itself.

    A forked process copies each page at its first touch, and WebAssembly is compiled where it is first run: so all of it
    is touched ahead of need.
    """
    host = Host(
        Wire(lambda size: _ANSWER, len, wire.leave), clock, {"calls": 1, "output_bytes": 1, "value_bytes": 1000}
    )
    seed_everything(0)
    text_stream(host.output).write("")
    loop = GuestLoop(clock, host.block)
    body, last, _ = compile_program(
        "import asyncio\nasync def f(n): return await tools.t(n)\nawait asyncio.gather(f(1))"
    )
    host.encode(loop.run_until_complete(_run(body, last, {"tools": Tools([("t", "t")], host.call)})), "")
    loop.close()


def compile_program(code: str) -> tuple[types.CodeType, types.CodeType | None, int | None]:
    """Compile a program in script form.

    Returns:
        All of it but a last expression, and that expression and its line where there is one.
    """
    show_source(code)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code, FILENAME, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    if not (tree.body and isinstance(last := tree.body[-1], ast.Expr)):
        return compile(tree, FILENAME, "exec", flags, dont_inherit=True), None, None
    del tree.body[-1]
    body = compile(tree, FILENAME, "exec", flags, dont_inherit=True)
    return body, compile(ast.Expression(last.value), FILENAME, "eval", flags, dont_inherit=True), last.lineno


async def _run(body: types.CodeType, last: types.CodeType | None, namespace: dict[str, Any]) -> Any:
    value = None
    for code in (body, last):
        if code is not None:
            value = eval(code, namespace)
            if code.co_flags & inspect.CO_COROUTINE:
                value = await value
    return value if last is not None else None


def _namespace(run: dict[str, Any], host: Host) -> dict[str, Any]:
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.stdin = io.StringIO()
    sys.stdout = sys.stderr = text_stream(host.output)
    sys.argv = [""]
    os.environ.clear()
    os.putenv("TZ", "UTC")  # for the C library alone
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    namespace = vars(module)
    namespace |= {
        "__builtins__": builtins,
        "tools": Tools([(name, attribute) for name, attribute in run["tools"]], host.call),
    }
    return namespace


def _cancel_rest(loop: GuestLoop) -> None:
    """Cancel the tasks that the program left. They may clean up, but wait for nothing any more."""
    try:
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        if rest:
            loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except BaseException:  # whatever a forgotten task raises, the program has ended with its value
        pass


_TRIED = 33 << 20  # above this the C library always asks the kernel


def address_space() -> int:
    """Bytes of address space that this process uses now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return _tried_address_space()
    import resource

    return pages * resource.getpagesize()


def _tried_address_space() -> int:
    """Find it where there is no /proc: the limit under which an allocation just fits."""
    try:
        import resource
    except ImportError:  # Pyodide, which sets no limit
        return 0
    low, high = 0, 1 << 40
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    while high - low > 1 << 16:
        middle = (low + high) // 2
        resource.setrlimit(resource.RLIMIT_AS, (middle, hard))
        try:
            bytes(_TRIED)  # never touched, so it costs nothing
        except MemoryError:
            low = middle
        else:
            high = middle
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    return high - _TRIED


def harden(limits: list[str]) -> None:
    """Set hard limits of the process, each given as in "nproc=0"."""
    if limits:
        import resource

        for limit in limits:
            name, _, value = limit.partition("=")
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (int(value), int(value)))


def confine(limits: dict[str, Any], base: int) -> None:
    """Limit memory and processor time, where the system can.

    Args:
        limits: The host's `Limits`, as a dictionary.
        base: Bytes of address space that the interpreter itself takes.
    """
    try:
        import resource
    except ImportError:  # Pyodide: WebAssembly's memory is capped from outside
        return
    memory = base + limits["memory_bytes"]
    seconds = math.ceil(limits["seconds"]) + 1
    for limit, value in ((resource.RLIMIT_AS, (memory, memory)), (resource.RLIMIT_CPU, (seconds, seconds + 1))):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(
            limit, tuple(value if hard == resource.RLIM_INFINITY else min(value, hard) for value in value)
        )
