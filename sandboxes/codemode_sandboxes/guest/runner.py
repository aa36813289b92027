"""One program's run, from the host's `run` frame to the last frame, and the guest's limits on itself."""

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

_RESERVE_BYTES = 2 << 20
_TRIED_BYTES = 33 << 20  # the C library asks the kernel for each block above 32 MB, and takes none that it has freed
_WARM_UP = "import asyncio\nasync def f(n): return await tools.t(n)\nawait asyncio.gather(f(1))"
_ANSWER = b'{"type":"resume","outcomes":[[1,"returned",{}]],"elapsed":null}\n'


def serve(wire: Wire, clock: Clock, confine: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Send "ready", run the program that the host sends, and end the process.

    Args:
        wire: Carries the frames.
        clock: The program's clock, which is installed.
        confine: Sets the process's own limits by the host's `Limits`, before the program is compiled.
    """
    _warm_up(wire, clock)
    # Address space that is given back when the program has used up its memory: without it nothing could be sent.
    reserve = [bytes(_RESERVE_BYTES)]
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
        # Free what the program holds before anything else is allocated; the line has to be read first.
        line = last_line(error.__traceback__)
        traceback.clear_frames(error.__traceback__)
        namespace.clear()
        limit = run["limits"]["memory_bytes"] / 2**20
        host.fail(Failure("memory", "MemoryError", f"the program used more than its {limit:.4g} MB of memory", line))
    except BaseException as error:
        reserve.clear()
        host.fail(describe(error))


def _warm_up(wire: Wire, clock: Clock) -> None:
    """Run a small program whose tool call is answered here.

    A forked process copies each page that it writes to, and WebAssembly is compiled when it first runs. This takes that
    time while the guest waits for its program.
    """
    host = Host(
        Wire(lambda size: _ANSWER, len, wire.leave), clock, {"calls": 1, "output_bytes": 1, "value_bytes": 1000}
    )
    seed_everything(0)
    text_stream(host.output).write("")
    loop = GuestLoop(clock, host.block)
    body, last, _ = compile_program(_WARM_UP)
    host.encode(loop.run_until_complete(_run(body, last, {"tools": Tools([("t", "t")], host.call)})), "")
    loop.close()


def compile_program(code: str) -> tuple[types.CodeType, types.CodeType | None, int | None]:
    """Compile a program in script form.

    Returns:
        The program without its last expression; that expression, and its line, where the program ends with one.
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
    os.putenv("TZ", "UTC")  # the C library reads it, and `os.environ` does not show it
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    namespace = vars(module)
    namespace |= {
        "__builtins__": builtins,
        "tools": Tools([(name, attribute) for name, attribute in run["tools"]], host.call),
    }
    return namespace


def _cancel_rest(loop: GuestLoop) -> None:
    """Cancel the tasks that the program left. They may clean up, but not wait."""
    try:
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        if rest:
            loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except BaseException:  # whatever a task that is left raises, the program has ended with its value
        pass


def address_space() -> int:
    """Return how many bytes of address space this process uses now.

    Limits of memory come on top of it: RLIMIT_AS counts the interpreter and its libraries too.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return _tried_address_space()
    import resource

    return pages * resource.getpagesize()


def _tried_address_space() -> int:
    """Find the address space where there is no /proc: by the lowest limit that leaves room for one block."""
    import resource

    low, high = 0, 1 << 40
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    while high - low > 1 << 16:
        middle = (low + high) // 2
        resource.setrlimit(resource.RLIMIT_AS, (middle, hard))
        try:
            bytes(_TRIED_BYTES)  # never written to, so it takes no memory
        except MemoryError:
            low = middle
        else:
            high = middle
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    return high - _TRIED_BYTES


def harden(limits: list[str]) -> None:
    """Set hard limits of the process, each written as in "nproc=0". Nothing in the process can raise them again."""
    import resource

    for limit in limits:
        name, _, value = limit.partition("=")
        resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (int(value), int(value)))


def confine(limits: dict[str, Any], base: int) -> None:
    """Set hard limits of memory and processor time.

    Args:
        limits: The host's `Limits`, as a dictionary.
        base: Bytes of address space that the interpreter itself takes; see `address_space`.
    """
    import resource  # not at the top: Pyodide has none, and bounds memory and time from outside

    memory = base + limits["memory_bytes"]
    # The host's clock is the bound; this one ends a guest whose host is too busy to look. The kernel counts whole seconds.
    seconds = math.ceil(limits["seconds"]) + 1
    for limit, value in ((resource.RLIMIT_AS, (memory, memory)), (resource.RLIMIT_CPU, (seconds, seconds + 1))):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(
            limit, tuple(value if hard == resource.RLIM_INFINITY else min(value, hard) for value in value)
        )
