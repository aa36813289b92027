"""One run of one program, driven from suspension to suspension."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakMethod

from pydantic_monty import FunctionSnapshot, FutureSnapshot, MontyComplete, MontyError, NameLookupSnapshot

from codemode_sandboxes.contract import (
    OPEN_CALLS,
    Blocked,
    Call,
    Event,
    Failed,
    Finished,
    Limits,
    Outcome,
    Program,
    Raised,
)
from codemode_sandboxes.errors import SandboxClosed
from codemode_sandboxes.monty.clock import CLOCK_CALLS, Clock
from codemode_sandboxes.monty.convert import arguments_from_monty, from_monty
from codemode_sandboxes.monty.dialect import lower
from codemode_sandboxes.monty.failures import (
    PROGRAM_FILE,
    arguments_exceeded,
    calls_exceeded,
    failure,
    last_line,
    output_exceeded,
    program_failure,
)
from codemode_sandboxes.monty.outcomes import LATER, check_conversion, raised, settled
from codemode_sandboxes.monty.output import Output
from codemode_sandboxes.monty.prelude import PRELUDE, function_names, prelude_inputs
from codemode_sandboxes.monty.workers import Worker

__all__ = ["MontyExecution"]

_Snapshot = FunctionSnapshot | FutureSnapshot | NameLookupSnapshot | MontyComplete


class _Ended(Exception):
    """Carries the event that ends a run up to `advance`."""

    def __init__(self, event: Failed) -> None:
        self.event = event


class MontyExecution:
    """See `codemode_sandboxes.Execution`.

    Args:
        worker: Which the execution owns from now on.
        program: What to run.
        limits: Its bounds.
    """

    def __init__(self, worker: Worker, program: Program, limits: Limits) -> None:
        self._worker, self._program, self._limits = worker, program, limits
        self._source = program.code.replace("\r\n", "\n").replace("\r", "\n")
        self._encoded = b""
        self._tools = function_names(program.tools)
        self._clock = Clock(program.now)
        self._output = Output(limits.output_bytes, _weakly(worker.kill))
        self._snapshot: _Snapshot | None = None
        self._suspended = False
        self._calls = 0
        self._new: list[Call] = []
        # Monty's id of each open call, the bytes of its arguments, and its line.
        self._open: dict[int, tuple[int, int, int | None]] = {}
        self._open_bytes = 0
        self._settled: dict[int, Outcome] = {}
        self._told: dict[tuple[str, str], int] = {}
        self._timers_fired = False
        self._closed = False

    async def advance(self, outcomes: Mapping[int, Outcome] | None = None, *, elapsed: float | None = None) -> Event:
        """Run the program until it blocks or ends.

        Raises:
            SandboxClosed: The execution was closed, or has ended.
            TypeError: An outcome's value is not a JSON value. The execution is closed.
        """
        if self._closed:
            raise SandboxClosed("the execution has ended")
        self._timers_fired = False
        self._clock.advance(elapsed)
        for number, outcome in (outcomes or {}).items():
            if (call := self._open.pop(number, None)) is not None:
                call_id, size, line = call
                self._settled[call_id] = outcome
                self._open_bytes -= size
                if isinstance(outcome, Raised) and line is not None:
                    error = raised(outcome.type, outcome.message)
                    self._told[error["exc_type"], error["message"]] = line
        try:
            event = await self._worker.do(self._run)
            if self._closed:
                raise SandboxClosed("the execution was closed while it ran")
        except BaseException:
            await self.aclose()
            raise
        if not isinstance(event, Blocked):
            await self.aclose()
        return event

    async def aclose(self) -> None:
        """End the run and give its worker back."""
        self._closed = True
        await self._worker.aclose()

    def _run(self) -> Event:
        """Go on until there is something to tell; in the worker's thread."""
        event = self._go_on()
        return output_exceeded(self._limits, event.stdout + self._output.take()) if self._output.exceeded else event

    def _go_on(self) -> Event:
        try:
            if self._snapshot is None:
                self._snapshot = self._begin()
            while True:
                following = self._step(self._snapshot)
                if not isinstance(following, _Snapshot):
                    return following
                self._snapshot = following
        except _Ended as ended:
            return ended.event
        except MontyError as error:
            return self._failure(error)

    def _begin(self) -> _Snapshot:
        try:
            self._source.encode()
        except UnicodeEncodeError:
            message = "the program's text contains lone surrogates"
            raise _Ended(Failed(kind="syntax", type="SyntaxError", message=message)) from None
        lowered = lower(self._source)
        self._encoded = lowered.code.encode()
        self._worker.session.feed_run(PRELUDE + lowered.helpers, inputs=prelude_inputs(self._program.tools))
        return self._worker.session.feed_start(lowered.code, print_callback=self._output.write)

    def _step(self, snapshot: _Snapshot) -> _Snapshot | Event:
        if isinstance(snapshot, MontyComplete):
            return self._finish(snapshot)
        self._suspended = True
        if isinstance(snapshot, NameLookupSnapshot):
            return snapshot.resume()
        if isinstance(snapshot, FutureSnapshot):
            return self._settle(snapshot)
        if snapshot.is_os_function:
            return self._system_call(snapshot)
        return self._tool_call(snapshot)

    def _tool_call(self, snapshot: FunctionSnapshot) -> _Snapshot:
        name = str(snapshot.function_name)
        tool = self._tools.get(name)
        if tool is None or snapshot.object_id is not None:
            return snapshot.resume(raised("NameError", f"name {name!r} is not defined"))
        line = self._line(snapshot)
        try:
            (args, kwargs), size = arguments_from_monty(
                snapshot.args, snapshot.kwargs, max_bytes=self._limits.value_bytes
            )
        except (TypeError, ValueError) as error:
            return snapshot.resume(raised(_builtin_name(error), f"arguments of {tool!r}: {error}"))
        self._calls += 1
        if self._calls > self._limits.calls:
            raise _Ended(calls_exceeded(self._limits, line, self._output.take()))
        self._open_bytes += size
        if self._open_bytes > OPEN_CALLS * self._limits.value_bytes:
            raise _Ended(arguments_exceeded(self._limits, line, self._output.take()))
        self._new.append(Call(self._calls, tool, tuple(args), kwargs, line))
        self._open[self._calls] = snapshot.call_id, size, line
        return snapshot.resume(LATER)

    def _system_call(self, snapshot: FunctionSnapshot) -> _Snapshot | Event:
        name = snapshot.function_name
        if name == "asyncio.sleep":
            self._clock.start_timer(snapshot.call_id, snapshot.args[0])
            return snapshot.resume(LATER)
        if name == "time.sleep":
            self._clock.start_timer(snapshot.call_id, snapshot.args[0])
            if self._clock.pop(snapshot.call_id):
                return snapshot.resume({"return_value": None})
            return self._blocked()
        if name == "os.environ":
            return snapshot.resume({"return_value": {}})
        if name == "os.getenv":
            default = snapshot.kwargs.get("default", snapshot.args[1] if len(snapshot.args) > 1 else None)
            return snapshot.resume({"return_value": default})
        if name in CLOCK_CALLS:
            try:
                return snapshot.resume({"return_value": self._clock.read(str(name), snapshot.args)})
            except (OverflowError, ValueError, OSError) as error:
                return snapshot.resume(raised("OverflowError", str(error)))
        return snapshot.resume_not_handled()

    def _settle(self, snapshot: FutureSnapshot) -> _Snapshot | Event:
        results: dict[int, Any] = {call_id: settled(outcome) for call_id, outcome in self._settled.items()}
        self._settled = {}
        # A program may poll with sleep(0) for the answer to a call: then the host has its turn between two rounds.
        if results or not self._open or not (self._timers_fired or self._new):
            self._timers_fired = True
            results |= {timer: {"return_value": None} for timer in self._clock.pop_due()}
        if not results:
            return self._blocked()
        try:
            return snapshot.resume(results)
        except MontyError as error:
            check_conversion(error)
            raise

    def _finish(self, snapshot: MontyComplete) -> Event:
        try:
            value, _ = from_monty(snapshot.output, max_bytes=self._limits.value_bytes)
        except (TypeError, ValueError) as error:
            message, line = f"the program's value: {error}", last_line(self._source)
            return program_failure(_builtin_name(error), message, line, self._output.take())
        return Finished(value, self._output.take())

    def _blocked(self) -> Blocked:
        calls, self._new = tuple(self._new), []
        return Blocked(calls, (), self._clock.wake_after(), self._output.take())

    def _line(self, snapshot: FunctionSnapshot) -> int | None:
        position = snapshot.position
        if position.filename != PROGRAM_FILE:
            return None
        return self._encoded.count(b"\n", 0, position.start) + 1

    def _failure(self, error: MontyError) -> Failed:
        stdout = self._output.take()
        unstarted = not self._suspended and not stdout
        program = dataclasses.replace(self._program, code=self._source)
        return failure(error, limits=self._limits, program=program, unstarted=unstarted, stdout=stdout, told=self._told)


def _builtin_name(error: TypeError | ValueError) -> str:
    return "TypeError" if isinstance(error, TypeError) else "ValueError"


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    # The session keeps its print callback, and a cycle through it is beyond the garbage collector: an execution that
    # nobody holds would keep its worker.
    reference = WeakMethod(method)

    def call() -> None:
        if (held := reference()) is not None:
            held()

    return call
