"""Random ordinary programs on CPython, and on Monty where the check lets them: is there a silent difference?

Run it with `python -m benchmarks.fuzz_python 20000`, and with a second number for the first seed. It compares the value, the
printed text, the exception and the tool calls, and prints the first differences, and by which rule programs were refused. It
ends with 1 where there is one.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import math
import random
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from codemode_sandboxes import Blocked, Failed, Finished, Limits, Outcome, Program, Raised, Returned, Sandbox
from codemode_sandboxes.choice import AutoSandbox, Choice, find_lacks
from codemode_sandboxes.guest.json_values import to_json
from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.registry import create_sandbox

from benchmarks.arguments import read_count_and_seed

__all__ = ["Fuzzed", "Run", "fuzz", "run_here", "run_in", "write_program"]

_LIMITS = Limits(seconds=10)
# One of so many programs that Monty refuses is run where `auto` runs it, too.
_ELSEWHERE = 25
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Run:
    """All that can be seen of a run.

    Attributes:
        value: The repr of the program's value; None where it failed.
        error: The name of the exception's type; None where there was none.
        line: Where it was raised.
        printed: The printed text.
        calls: The tool calls, in order.
    """

    value: Any
    error: str | None
    line: int | None
    printed: str
    calls: tuple[str, ...]


@dataclass
class Fuzzed:
    """The results of the programs.

    Attributes:
        on_monty: How many began on Monty.
        moved: How many of these went on in `restricted`, for what they came to.
        refused: How many were not given to Monty, by rule.
        elsewhere: How many of these were run on `restricted`.
        other_error: Programs that ended, on the same line, with another of the errors that their last expression has.
        different: Programs that did something else than in CPython, each with both runs.
    """

    on_monty: int = 0
    moved: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0
    other_error: int = 0
    different: list[tuple[str, str, Run, Run]] = field(default_factory=list)


def _answer(tool: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    if tool == "double":
        return args[0] * 2
    if tool == "rows":
        return [{"id": n, "name": "abc"[n], "n": n} for n in range(3)]
    if tool == "mixed":
        return [1, 1.0, True, 0, False, -0.0, 0.0, 2, 2.0, 2**60, float(2**60), "1", None, 1.5, 2**53 + 1, float(2**53)]
    if tool == "odd":
        return [1.0, math.nan, 3, math.inf, math.nan, 2.5, -math.inf, 1e308, "nan"]
    if tool == "fail":
        raise RuntimeError(args[0])
    return None


_DATA = """\
nums = {nums}
words = {words}
rows = {rows}
counts = {counts}
groups = {groups}
seen = {seen}
pair = {pair}
text = {text}
keys = {keys}
log = []
class Box:
    def __init__(self, items):
        self.items = items
        self.total = 0
box = Box([1, 2])
def note(x):
    log.append(x)
    return x
def twice(x):
    return x * 2
"""
_WORDS = ("ann", "Bob", "", "it's", "x-1", " pad ", "42", "a,b,,c", "été", "Line\nTwo", "z", "٣", "１.５")
_KEYS = ("a", "b", "name", "n")
_VARIABLES = ("nums", "words", "rows", "counts", "groups", "pair", "text", "log", "box.items", "box.total")
# What programs have besides whose keys come from a tool, and are equal across types.
_KEYED_DATA = "from collections import Counter, defaultdict\nmade = {}\ntally = {}\nmany = defaultdict(list)\n"
_MIXED = 0.3
_SYMBOL = re.compile("«([A-Z_]+)»")


@cache
def _grammar() -> dict[str, list[str]]:
    text = Path(__file__).with_name("python_programs.txt").read_text(encoding="utf-8")
    sections = (section.split("\n") for section in text.split("\n== ")[1:])
    return {name: lines[:-1] if lines[-1] == "" and len(lines) > 1 else lines for name, *lines in sections}


def write_program(rng: random.Random) -> str:
    """Return a random program, in script form, whose value is a list of texts.

    It calls the tools `double(x)`, `rows()`, `put(key, value)`, `mixed()`, `odd()` and `fail(message)`.

    Args:
        rng: Where its choices come from.
    """
    is_mixed = rng.random() < _MIXED
    data = _DATA.format(
        nums=[rng.randint(-5, 9) for _ in range(rng.randint(0, 5))],
        words=[rng.choice(_WORDS) for _ in range(rng.randint(0, 4))],
        rows=[_row(rng, number) for number in range(rng.randint(0, 4))],
        counts={rng.choice(_KEYS): rng.randint(0, 5) for _ in range(3)},
        groups={rng.choice(_KEYS): [rng.randint(0, 3)] for _ in range(2)},
        seen="{" + ", ".join(str(rng.randint(0, 6)) for _ in range(3)) + "}",
        pair=(rng.randint(0, 4), rng.choice(_WORDS)),
        text=repr(rng.choice(_WORDS)),
        keys=f"(await tools.{rng.choice(['mixed', 'mixed', 'odd'])}())[{rng.randint(0, 12)}:][::{rng.choice([1, -1, 2])}]"
        if is_mixed
        else "[1, 2]",
    )
    others = 0 if is_mixed and rng.random() < 0.7 else rng.randint(1, 5)
    lines = [line for number in range(others) for line in _statement(rng, f"v{number}")]
    for number in range(rng.randint(1, 4) if is_mixed else 0):
        lines += _expand(rng, "«KEYED»", f"k{number}").split(" ;; ")
    shown = ", ".join(f"repr({name})" for name in rng.sample(_VARIABLES, rng.randint(2, 5)))
    if is_mixed:
        shown += ", repr(made), repr(dict(tally)), repr(dict(many))"
    return f"{data}{_KEYED_DATA if is_mixed else ''}{chr(10).join(lines)}\n[{shown}]"


def _row(rng: random.Random, number: int) -> dict[str, Any]:
    row: dict[str, Any] = {"id": number, "name": rng.choice(_WORDS), "n": rng.choice([1, 2, 2.5, -3, 0])}
    # A few rows are not clean: a value of another type, or none.
    if rng.random() < 0.06:
        row["n"] = rng.choice([None, "7"])
    if rng.random() < 0.06:
        del row[rng.choice(["id", "name", "n"])]
    return row


def _statement(rng: random.Random, name: str) -> list[str]:
    lines = _expand(rng, "«STATEMENT»", name).split(" ;; ")
    if rng.random() < 0.45:
        handler = _expand(rng, "except «CAUGHT» as e: ;;     log.append(«SHOWN_ERROR») ;; «AFTER»", name).split(" ;; ")
        lines = ["try:", *(f"    {line}" for line in lines), *(line for line in handler if line)]
    return lines


def _expand(rng: random.Random, text: str, name: str) -> str:
    while found := _SYMBOL.search(text):
        choice = str(rng.randint(-3, 9)) if found[1] == "N" else rng.choice(_grammar()[found[1]])
        text = text[: found.start()] + choice + text[found.end() :]
    return text.replace("«name»", name)


TOOLS = ("double", "rows", "put", "fail", "mixed", "odd")


class _Tools:
    """The tools, for a program in this process: calls are answered together, when the program waits for nothing else."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls
        self._waiting: list[tuple[asyncio.Future[Any], str, tuple[Any, ...], dict[str, Any]]] = []
        self.has_ended = False

    def __getattr__(self, tool: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[Any] = loop.create_future()
            # The sandboxes hand over JSON, and only when the program waits.
            self._waiting.append((future, tool, *to_json((args, kwargs), max_bytes=1 << 20)))
            if len(self._waiting) == 1:
                loop.call_soon(self._answer_when_idle)
            return await future

        return call

    def _answer_when_idle(self) -> None:
        loop = asyncio.get_running_loop()
        # What is ready runs first, to its next wait. The loop has no public way to say whether anything is ready.
        if loop._ready:  # type: ignore[attr-defined]
            loop.call_soon(self._answer_when_idle)
            return
        if self.has_ended:  # what its other coroutines began is nobody's any more
            return
        waiting, self._waiting = self._waiting, []
        for future, tool, args, kwargs in waiting:
            self._calls.append(_shown(tool, args, kwargs))
            if not future.done():
                try:
                    future.set_result(_answer(tool, args, kwargs))
                except Exception as error:  # the program's to catch
                    future.set_exception(error)


def _shown(tool: str, args: Any, kwargs: Any) -> str:
    return f"{tool}{list(args)!r}{dict(kwargs)!r}"


def run_here(code: str) -> Run:
    """Run a program in this process, where it may do what it likes: it is one of ours."""
    tree = ast.parse(code)
    last = tree.body[-1]
    assert isinstance(last, ast.Expr)
    tree.body[-1] = ast.copy_location(ast.Assign([ast.Name("_value", ast.Store())], last.value), last)
    compiled = compile(ast.fix_missing_locations(tree), "<program>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    calls: list[str] = []
    tools = _Tools(calls)
    names: dict[str, Any] = {"tools": tools, "__name__": "__main__"}
    printed = io.StringIO()

    async def main() -> None:
        try:
            result = eval(compiled, names)
            if inspect.isawaitable(result):
                await result
        finally:
            tools.has_ended = True

    try:
        with contextlib.redirect_stdout(printed):
            asyncio.run(main())
    except Exception as error:  # the program's
        # Of an iterator's end that left the coroutine, only the cause says where.
        raised = error.__cause__ if isinstance(error.__cause__, StopIteration) else error
        trace, line = raised.__traceback__, None
        while trace is not None:
            line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == "<program>" else line
            trace = trace.tb_next
        return Run(None, type(error).__name__, line, _ADDRESS.sub("", printed.getvalue()), tuple(calls))
    return Run(_ADDRESS.sub("", repr(names["_value"])), None, None, _ADDRESS.sub("", printed.getvalue()), tuple(calls))


async def run_in(sandbox: Sandbox, code: str) -> Run:
    """Run a program in a sandbox, answering its calls."""
    execution = await sandbox.start(Program(code=code, tools=TOOLS, seed=1), _LIMITS)
    calls: list[str] = []
    printed = ""
    try:
        event = await execution.advance()
        while isinstance(event, Blocked):
            printed += event.stdout
            outcomes: dict[int, Outcome] = {}
            for call in event.calls:
                calls.append(_shown(call.tool, call.args, call.kwargs))
                try:
                    outcomes[call.id] = Returned(_answer(call.tool, call.args, call.kwargs))
                except Exception as error:  # the tool's
                    outcomes[call.id] = Raised(type(error).__name__, str(error))
            event = await execution.advance(outcomes, elapsed=0.0)
    finally:
        await execution.aclose()
    if isinstance(event, Failed):
        return Run(None, event.type, event.line, _ADDRESS.sub("", printed + event.stdout), tuple(calls))
    assert isinstance(event, Finished)
    return Run(_ADDRESS.sub("", repr(event.value)), None, None, _ADDRESS.sub("", printed + event.stdout), tuple(calls))


async def fuzz(count: int, *, seed: int = 1, elsewhere: bool = True) -> Fuzzed:
    """Run this many programs.

    Args:
        count: How many.
        seed: Of the first; each program has the next.
        elsewhere: Whether some of those that Monty is not given run on `restricted`.

    Returns:
        What became of them.
    """
    found = Fuzzed()
    monty = MontySandbox()
    other = create_sandbox("restricted")
    auto = _Auto([monty, other])
    capabilities = monty.capabilities
    for number in range(seed, seed + count):
        code = write_program(random.Random(number))
        # A module that a program can do without makes `auto` go on to a sandbox that has it.
        choice = auto.choose_now(code)
        lacks = () if choice.sandbox is monty else (*find_lacks(code, capabilities),) or ("an optional module",)
        sandbox: Sandbox | None = auto
        if lacks:
            found.refused.update(lacks)
            sandbox = other if elsewhere and number % _ELSEWHERE == 0 else None
            found.elsewhere += sandbox is not None
        else:
            found.on_monty += 1
        if sandbox is not None:
            here, there = await asyncio.to_thread(run_here, code), await run_in(sandbox, code)
            if _is_other_error(here, there):
                found.other_error += 1
            elif (here.value, here.error, here.printed, here.calls) != (
                there.value,
                there.error,
                there.printed,
                there.calls,
            ):
                found.different.append((f"{sandbox.name}, seed {number}", code, here, there))
    found.moved = auto.moved
    await auto.aclose()
    return found


class _Auto(AutoSandbox):
    """Counts the runs that move to another backend on the way."""

    moved = 0

    def handover(
        self, sandbox: Sandbox, program: Program, on_move: Callable[[Choice], None] = lambda _: None
    ) -> Sandbox:
        def count(choice: Choice) -> None:
            self.moved += 1
            on_move(choice)

        return super().handover(sandbox, program, count)


def _is_other_error(one: Run, other: Run) -> bool:
    """Return whether two runs ended on the same line with different errors, and are the same otherwise.

    Of several errors that an expression like `max(row['n'] for row in rows)` has, Monty may raise another one than
    CPython. It does so only where no `except` of the program can see it.
    """
    same = (one.line, one.printed, one.calls) == (other.line, other.printed, other.calls)
    return same and None not in (one.error, other.error) and one.error != other.error


def _main(count: int, seed: int) -> int:
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")  # some of the programs are about that
    found = asyncio.run(fuzz(count, seed=seed))
    print(
        f"{count:,} programs: {found.on_monty:,} on Monty, {count - found.on_monty:,} refused before anything ran; "
        f"{found.moved:,} moved on the way"
    )
    print(
        f"{found.elsewhere:,} of the refused were run on restricted; "
        f"{found.other_error} ended with another error of the same line"
    )
    for rule, times in found.refused.most_common():
        print(f"{times:7,}  {rule}")
    print(f"{len(found.different)} silent differences")
    for where, code, here, there in found.different[:8]:
        print(f"\n--- {where}\n{code}\nCPython: {here}\n  there: {there}")
    return bool(found.different)


if __name__ == "__main__":
    sys.exit(_main(*read_count_and_seed("benchmarks.fuzz_python", __doc__, count=20_000, cases="programs")))
