"""One run of one program, driven from suspension to suspension, with its clock and its printed text."""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal
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
    Returned,
)
from codemode_sandboxes.errors import SandboxClosed
from codemode_sandboxes.guest.json_values import clean_text, has_surrogates
from codemode_sandboxes.monty.convert import (
    LATER,
    SURROGATES,
    OtherText,
    arguments_from_monty,
    check_conversion,
    check_floats,
    error_answer,
    from_monty,
    to_answer,
)
from codemode_sandboxes.monty.dialect import lower, refuses, uses_nan
from codemode_sandboxes.monty.failures import PROGRAM_FILE, failure, last_line, program_failure
from codemode_sandboxes.monty.prelude import REFUSAL, function_names, write_prelude
from codemode_sandboxes.monty.workers import Worker
from codemode_sandboxes.source.tree import tree_of

__all__ = ["MontyExecution"]

_Snapshot = FunctionSnapshot | FutureSnapshot | NameLookupSnapshot | MontyComplete

# Monty's names for the ways to read a clock; `time.time` stands for all of `time`, with the function as argument.
_CLOCK_CALLS = frozenset({"time.time", "datetime.now", "date.today"})

_SINCE_START = frozenset({"time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"})

# Errors that Monty raises for what it lacks, and for larger integers and deeper recursion than it takes in some places.
# `StopIteration` that leaves a coroutine, as that of a whole program, is a `RuntimeError` in CPython.
_DOUBTFUL = frozenset(
    {
        *("AttributeError", "IndexError", "NotImplementedError", "OverflowError", "RecursionError", "StopIteration"),
        "TypeError",
    }
)
_LONGEST_REASON = 500


class _Ended(Exception):
    """Carries the event that ends a run up to `_advance`."""

    def __init__(self, event: Failed) -> None:
        self.event = event


class MontyExecution:
    """See `codemode_sandboxes.Execution`.

    Args:
        worker: The worker, which the execution owns from now on.
        program: The program.
        limits: Its bounds.
    """

    def __init__(self, worker: Worker, program: Program, limits: Limits) -> None:
        self._worker, self._program, self._limits = worker, program, limits
        self._source = program.code.replace("\r\n", "\n").replace("\r", "\n")
        self._encoded = b""
        self._minds_nan: bool | None = None
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
        self._answers: dict[int, Outcome] = {}
        # The line of the last call that was answered with an error, by the type and message that Monty gives it.
        self._error_lines: dict[tuple[str, str], int] = {}
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
                self._answers[call_id] = outcome
                self._open_bytes -= size
                if isinstance(outcome, Raised) and line is not None:
                    error = error_answer(outcome.type, outcome.message)
                    self._error_lines[error["exc_type"], error["message"]] = line
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
        """Run, in the worker's thread, until the program blocks or ends."""
        event = self._advance()
        # Both kill the process, so `event` says that it died.
        if self._output.refusal:
            event = self._lacking(self._output.refusal, event.stdout).event
        elif self._output.exceeded:
            message = f"the program printed more than {self._limits.output_bytes:,} bytes"
            event = self._exceeded("output", message, None, event.stdout)
        if not isinstance(event, Blocked):
            self._worker.give_back()  # in this thread already: to ask for it from the loop would cost a switch of threads
        return event

    def _advance(self) -> Event:
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
        # Two feeds, none of them empty, as such a one does not count: an error or a call in the second lies in the
        # program itself, which `PROGRAM_FILE` names.
        lowered = lower(self._source)
        self._encoded = lowered.code.encode()
        prelude, inputs = write_prelude(lowered.helpers + lowered.code, self._program.tools)
        self._worker.session.feed_run(prelude + lowered.helpers or "None", inputs=inputs)
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
        # Any undefined name that a program calls arrives here; only those of tools are answered.
        if tool is None or snapshot.object_id is not None:
            return snapshot.resume(error_answer("NameError", f"name {name!r} is not defined"))
        line = self._line(snapshot)
        try:
            (args, kwargs), size = arguments_from_monty(
                snapshot.args, snapshot.kwargs, max_bytes=self._limits.value_bytes
            )
        except OtherText as other:
            raise self._lacking(str(other)) from None
        except (TypeError, ValueError) as error:
            return snapshot.resume(error_answer(_builtin_name(error), f"arguments of {tool!r}: {error}"))
        self._calls += 1
        if self._calls > self._limits.calls:
            raise _Ended(self._exceeded("calls", f"the program made more than {self._limits.calls} tool calls", line))
        self._open_bytes += size
        if self._open_bytes > (most := OPEN_CALLS * self._limits.value_bytes):
            raise _Ended(
                self._exceeded("output", f"the arguments of the open calls take more than {most:,} bytes", line)
            )
        self._new.append(Call(self._calls, tool, tuple(args), kwargs, line))
        self._open[self._calls] = snapshot.call_id, size, line
        return snapshot.resume(LATER)

    def _system_call(self, snapshot: FunctionSnapshot) -> _Snapshot | Event:
        name = snapshot.function_name
        if name == "asyncio.sleep":
            self._clock.start_timer(snapshot.call_id, snapshot.args[0])
            return snapshot.resume(LATER)
        if name == "time.sleep":  # unlike `asyncio.sleep`, it holds up the whole program until the timer is due
            self._clock.start_timer(snapshot.call_id, snapshot.args[0])
            if self._clock.pop(snapshot.call_id):
                return snapshot.resume({"return_value": None})
            return self._blocked()
        if name == "os.environ":  # a program sees nothing of the host's environment
            return snapshot.resume({"return_value": {}})
        if name == "os.getenv":
            default = snapshot.kwargs.get("default", snapshot.args[1] if len(snapshot.args) > 1 else None)
            return snapshot.resume({"return_value": default})
        if name in _CLOCK_CALLS:
            try:
                return snapshot.resume({"return_value": self._clock.read(str(name), snapshot.args)})
            except (OverflowError, ValueError, OSError) as error:
                return snapshot.resume(error_answer("OverflowError", str(error)))
        return snapshot.resume_not_handled()

    def _settle(self, snapshot: FutureSnapshot) -> _Snapshot | Event:
        for outcome in self._answers.values():
            if isinstance(outcome, Returned) and (reason := self._refuses(outcome.value)):
                raise self._lacking(reason)
        results: dict[int, Any] = {call_id: to_answer(outcome) for call_id, outcome in self._answers.items()}
        self._answers = {}
        # A program may poll with sleep(0) for the answer to a call. Timers fire once in an `advance` while calls are
        # open, so that the host has its turn between two rounds of such a loop.
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

    def _refuses(self, value: Any) -> str:
        """Return why the program must not go on here with a tool's result; empty where it may."""
        if value is None or type(value) in (bool, int):
            return ""
        if has_surrogates(value):
            return SURROGATES
        if type(value) is str:
            return ""
        if self._minds_nan is None:
            self._minds_nan = uses_nan(self._source)
        return refuses(value) if self._minds_nan else ""

    def _lacking(self, reason: str, stdout: str = "") -> _Ended:
        """Return the end of a run that comes to something that CPython does otherwise."""
        failed = program_failure("ValueError", reason[:_LONGEST_REASON], None, stdout + self._output.take())
        return _Ended(replace(failed, lacks=failed.message))

    def _finish(self, snapshot: MontyComplete) -> Event:
        try:
            value, _ = from_monty(snapshot.output, max_bytes=self._limits.value_bytes)
        except OtherText as other:
            raise self._lacking(str(other)) from None
        except (TypeError, ValueError) as error:
            message, line = f"the program's value: {error}", last_line(self._source)
            return program_failure(_builtin_name(error), message, line, self._output.take())
        return Finished(value, self._output.take())

    def _blocked(self) -> Blocked:
        calls, self._new = tuple(self._new), []
        return Blocked(calls, (), self._clock.wake_after(), self._output.take())

    def _exceeded(self, kind: Literal["calls", "output"], message: str, line: int | None, stdout: str = "") -> Failed:
        return Failed(kind=kind, type="RuntimeError", message=message, line=line, stdout=stdout + self._output.take())

    def _line(self, snapshot: FunctionSnapshot) -> int | None:
        position = snapshot.position
        if position.filename != PROGRAM_FILE:
            return None
        return self._encoded.count(b"\n", 0, position.start) + 1

    def _is_python(self) -> bool:
        """Return whether CPython reads the program, so that what Monty cannot read is a lack of Monty's."""
        try:
            tree_of(self._source)
        except SyntaxError:
            return False
        return True

    def _failure(self, error: MontyError) -> Failed:
        stdout = self._output.take()
        unstarted = not self._suspended and not stdout
        program = replace(self._program, code=self._source)
        failed = failure(error, self._limits, program, self._error_lines, unstarted=unstarted, stdout=stdout)
        try:
            check_floats(failed.message)
        except OtherText as other:
            return replace(failed, lacks=str(other))
        # What Monty lacks on the way shows as one of these, and so do mistakes: CPython's word decides, where there is one.
        doubt = failed.type in _DOUBTFUL if failed.kind == "program" else failed.kind == "syntax" and self._is_python()
        return replace(failed, lacks=f"{failed.type}: {failed.message}"[:_LONGEST_REASON]) if doubt else failed


def _builtin_name(error: TypeError | ValueError) -> str:
    return "TypeError" if isinstance(error, TypeError) else "ValueError"


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    # The session keeps its print callback, and the garbage collector does not see a cycle through it: an execution
    # that nobody holds would keep its worker.
    reference = WeakMethod(method)

    def call() -> None:
        if (method := reference()) is not None:
            method()

    return call


class Clock:
    """A virtual clock with timers. It stands still while the program runs, and goes on as far as the host says.

    Args:
        now: The time at the start, in seconds since the epoch.
    """

    def __init__(self, now: float) -> None:
        self._now = now
        self._elapsed = 0.0
        self._timers: dict[int, float] = {}

    def advance(self, elapsed: float | None) -> None:
        """Set the seconds since the start. A clock never goes back."""
        if elapsed is not None:
            self._elapsed = max(self._elapsed, elapsed)

    def start_timer(self, timer: int, seconds: float) -> None:
        """Start a timer, known by a number, unless it runs already."""
        self._timers.setdefault(timer, self._elapsed + max(seconds, 0.0))

    def pop(self, timer: int) -> bool:
        """Return whether a timer is due, and forget it if so."""
        if self._timers[timer] > self._elapsed:
            return False
        del self._timers[timer]
        return True

    def pop_due(self) -> list[int]:
        """Return the timers that are due, earliest first, and forget them."""
        due = sorted((when, timer) for timer, when in self._timers.items() if when <= self._elapsed)
        for _, timer in due:
            del self._timers[timer]
        return [timer for _, timer in due]

    def wake_after(self) -> float | None:
        """Return the seconds until the next timer; None without one."""
        return max(min(self._timers.values()) - self._elapsed, 0.0) if self._timers else None

    def read(self, function: str, args: tuple[Any, ...]) -> object:
        """Read the clock for one of `_CLOCK_CALLS`.

        Raises:
            OverflowError, ValueError: The time is beyond what a `datetime` can hold.
        """
        if function == "time.time":
            return self._elapsed if args and args[0] in _SINCE_START else self._now + self._elapsed
        zone = args[0] if args and isinstance(args[0], datetime.tzinfo) else None
        moment = datetime.datetime.fromtimestamp(self._now + self._elapsed, zone or datetime.UTC)
        if function == "date.today":
            return moment.date()
        return moment if zone else moment.replace(tzinfo=None)


class Output:
    """Collects printed text between two events.

    Args:
        max_bytes: How much may be printed in all, in UTF-8; more is not kept.
        stop: Called, once, from the thread that delivered the text beyond the limit, or the word that refuses to go on.

    Attributes:
        exceeded: Whether there was text beyond the limit.
        refusal: Why the run cannot go on in Monty; empty where it can.
    """

    def __init__(self, max_bytes: int, stop: Callable[[], None]) -> None:
        self._room = max_bytes
        self._stop = stop
        self._parts: list[str] = []
        self.exceeded = False
        self.refusal = ""

    def write(self, stream: str, text: str) -> None:
        """Add a piece of text; standard output and standard error go to the same place, in order."""
        if self.exceeded or self.refusal:
            return
        if REFUSAL in text:
            # The program goes on until it is killed, and may be refused for something else.
            self.refusal = text.split(REFUSAL)[1].strip() or "this program"
            self._stop()
            return
        try:
            check_floats(text)
        except OtherText as other:
            self.refusal = str(other)
            self._stop()
            return
        encoded = text.encode("utf-8", "replace")
        if len(encoded) > self._room:
            self.exceeded = True
            text = encoded[: self._room].decode("utf-8", "ignore")
        self._room -= len(encoded)
        self._parts.append(text)
        if self.exceeded:
            self._stop()

    def take(self) -> str:
        """Return the text printed since the last call."""
        parts, self._parts = self._parts, []
        return clean_text("".join(parts))
