"""Random programs: trees of operations, written as Python, and made smaller where one is found that goes wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, TypeAlias

__all__ = ["Body", "Op", "changed", "random_body", "size", "smaller", "source", "without_keys"]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of a program: a call, or something with operations inside."""

    kind: str
    arguments: tuple[Any, ...] = ()
    bodies: tuple["Body", ...] = ()


Body: TypeAlias = tuple[Op, ...]

LAST, NEXT, CLOCK, KEY = "last", "last + 1", "f'@{time.time()}'", "key"
"""Arguments that are expressions."""

_EXPRESSIONS = (LAST, NEXT, CLOCK, KEY)
_NUMBERS = ("count", "version", "get", "rflaky", "add", "addk", "addv", "save", "charge")
_OF_NUMBERS = ("save", "charge")
_ERRORS = "(ValueError, PermissionError)"


def call(tool: str, *arguments: Any) -> Op:
    """Return a call of a tool."""
    return Op("call", (tool, *arguments))


def size(body: Body) -> int:
    """Return the number of operations in a program."""
    return sum(1 + sum(map(size, op.bodies)) for op in body)


def without_keys(body: Body) -> Body:
    """Return the program with tools that take no idempotency key in place of those that do."""
    other = {"addk": "addv", "setk": "set"}
    return tuple(
        Op(
            op.kind,
            tuple(
                other.get(each, each) if op.kind == "call" and n == 0 else each for n, each in enumerate(op.arguments)
            ),
            tuple(map(without_keys, op.bodies)),
        )
        for op in body
    )


@dataclass
class _Writer:
    bugs: dict[int, list[int]]
    lines: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def write(self, body: Body, indent: int) -> None:
        for op in body:
            number = next(self.numbers)
            attempts = self.bugs.get(number)
            if attempts:
                self.line(indent, f"if attempt in {attempts}:")
                self.line(indent + 1, "raise KeyError('bug')")
            getattr(self, f"_{op.kind}")(op, indent, number)

    def line(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    def _call(self, op: Op, indent: int, number: int) -> None:
        tool, *arguments = op.arguments
        written = f"await tools.{tool}({', '.join(_spelled(tool, n, each) for n, each in enumerate(arguments))})"
        self.line(indent, f"last = {written}" if tool in _NUMBERS else written)

    def _retry(self, op: Op, indent: int, number: int) -> None:
        tool, name = op.arguments
        self.line(indent, "for turn in range(4):")
        self.line(indent + 1, "try:")
        self.line(indent + 2, f"await tools.{tool}({name!r})")
        self.line(indent + 2, "break")
        self.line(indent + 1, "except ValueError:")
        self.line(indent + 2, "if turn == 3:")
        self.line(indent + 3, "raise")

    def _poll(self, op: Op, indent: int, number: int) -> None:
        self.line(indent, "for turn in range(9):")
        self.line(indent + 1, f"if await tools.status({op.arguments[0]!r}) == 'ready':")
        self.line(indent + 2, "break")

    def _try(self, op: Op, indent: int, number: int) -> None:
        self.line(indent, "try:")
        self._inner(op.bodies[0], indent + 1)
        self.line(indent, f"except {_ERRORS}:")
        self._inner(op.bodies[1], indent + 1)

    def _compensate(self, op: Op, indent: int, number: int) -> None:
        seat = op.arguments[0]
        self.line(indent, f"await tools.reserve({seat!r})")
        self.line(indent, "try:")
        self._inner(op.bodies[0], indent + 1)
        self.line(indent, "except (ValueError, PermissionError, KeyError):")
        self.line(indent + 1, f"await tools.cancel({seat!r})")
        self.line(indent + 1, "raise")

    def _saga(self, op: Op, indent: int, number: int) -> None:
        seat = op.arguments[0]
        self.line(indent, f"await tools.reserve({seat!r})")
        self.line(indent, "try:")
        self._inner(op.bodies[0], indent + 1)
        self.line(indent, f"except {_ERRORS}:")
        self.line(indent + 1, f"await tools.cancel({seat!r})")
        self._inner(op.bodies[1], indent + 1)

    def _each(self, op: Op, indent: int, number: int) -> None:
        self.line(indent, f"for key in {list(op.arguments[0])!r}:")
        self._inner(op.bodies[0], indent + 1)

    def _gather(self, op: Op, indent: int, number: int) -> None:
        slots, collects = op.arguments
        if slots:
            self.line(indent, f"slots{number} = asyncio.Semaphore({slots})")
        for n, body in enumerate(op.bodies):
            self.line(indent, f"async def branch{number}_{n}(key, last):")
            inside = indent + 1
            if slots:
                self.line(inside, f"async with slots{number}:")
                inside += 1
            self._inner(body, inside)
        calls = ", ".join(f"branch{number}_{n}('b{n}', last)" for n in range(len(op.bodies)))
        if not collects:
            self.line(indent, f"await asyncio.gather({calls})")
            return
        self.line(indent, f"for result in await asyncio.gather({calls}, return_exceptions=True):")
        self.line(indent + 1, "if isinstance(result, Exception):")
        self.line(indent + 2, "raise result")

    def _inner(self, body: Body, indent: int) -> None:
        if body:
            self.write(body, indent)
        else:
            self.line(indent, "pass")


def _spelled(tool: str, place: int, argument: Any) -> str:
    if argument not in _EXPRESSIONS:
        return repr(argument)
    number = tool == "save" or (tool == "charge" and place == 1)
    return str(argument) if number or argument in (CLOCK, KEY) else f"str({argument})"


def source(body: Body, *, attempt: int, bugs: dict[int, list[int]]) -> str:
    """Return a program's text.

    Args:
        body: What it does.
        attempt: A number that the text holds, so that each attempt has a text of its own.
        bugs: The attempts that raise before an operation, by the operation's number.
    """
    writer = _Writer(bugs)
    writer.write(body, 1)
    head = [
        "import asyncio",
        "import time",
        f"attempt = {attempt}",
        "async def main():",
        "    last = 0",
        "    key = 'k'",
    ]
    return "\n".join([*head, *writer.lines, "    return 'ok'"]) + "\n"


def random_body(random: Random, *, slots: bool, deep: int = 2) -> Body:
    """Return a random program.

    Args:
        random: Where chance comes from.
        slots: Whether gathers may be bounded by a semaphore.
        deep: How deep operations may be in one another.
    """
    ops: list[Op] = []
    for _ in range(random.randint(1, 5)):
        chance = random.random()
        if chance < 0.20:
            ops.append(random.choice([call("count"), call("version"), call("flag", "f"), call("get", "k")]))
        elif chance < 0.38:
            text = random.choice(["a", "b", LAST, NEXT, CLOCK, "lost before", "lost after"])
            ops.append(call(random.choice(["add", "addk", "addv"]), text))
        elif chance < 0.42:
            ops.append(call("pay", random.choice(["plain", "change", "refuse", "lost before", "lost after"])))
        elif chance < 0.50:
            ops.append(call("save", random.choice([LAST, LAST, 0])))
        elif chance < 0.60:
            ops.append(
                call(random.choice(["set", "set", "setk"]), "f", random.choice(["open", "draft", "closed", LAST]))
            )
        elif chance < 0.66:
            ops += [call("get", "k"), call("charge", "k", NEXT)]
        elif chance < 0.71:
            ops.append(Op("retry", (random.choice(["flaky", "rflaky"]), random.choice(["x", "y"]))))
        elif chance < 0.74:
            ops.append(Op("poll", ("job",)))
        elif deep:
            ops.append(_nested(random, slots, deep))
    return tuple(ops) or (call("count"),)


def _nested(random: Random, slots: bool, deep: int) -> Op:
    def flat() -> Body:
        return random_body(random, slots=slots, deep=0)

    kind = random.choice(["try", "try", "compensate", "compensate", "saga", "each", "gather", "gather"])
    seat = f"seat {random.randint(0, 9999)}"
    chain = (call("get", KEY), call("charge", KEY, NEXT))
    if kind == "try":
        fails = random.choice([call("flaky", "x"), call("rflaky", "y"), call("save", 0), call("pay", "refuse")])
        return Op("try", (), ((fails, *flat()), flat()))
    if kind == "compensate":
        return Op("compensate", (seat,), (random_body(random, slots=slots, deep=deep - 1),))
    if kind == "saga":
        return Op("saga", (seat,), ((*flat(), call("save", random.choice([0, LAST]))), flat()))
    if kind == "each":
        return Op("each", (("p", "q", "s"),), (chain,))
    before = (call(random.choice(["add", "addk"]), KEY),)

    def branch() -> Body:
        ends: list[Body] = [chain, chain + chain, before + chain, (*chain, call("set", KEY, LAST)), before]
        return random.choice([*ends, (Op("retry", ("rflaky", "x")), *chain)])

    same = branch()
    branches = tuple(same if random.random() < 0.7 else branch() for _ in range(random.randint(2, 5)))
    return Op("gather", (random.choice([1, 2, 4]) if slots else 0, random.random() < 0.3), branches)


def changed(random: Random, body: Body) -> Body:
    """Return a repair that does not do the same: with operations added, removed and in another order."""
    ops = list(body)
    for _ in range(random.randint(1, 2)):
        chance = random.random()
        if chance < 0.35:
            ops.insert(random.randint(0, len(ops)), random_body(random, slots=False, deep=0)[0])
        elif chance < 0.6 and len(ops) > 1:
            ops.pop(random.randrange(len(ops)))
        else:
            random.shuffle(ops)
    return tuple(ops)


def smaller(body: Body) -> Iterator[Body]:
    """Return programs that are this one with something left out."""
    for at, op in enumerate(body):
        yield body[:at] + body[at + 1 :]
        for inner in op.bodies:
            yield body[:at] + inner + body[at + 1 :]
        for n, inner in enumerate(op.bodies):
            if op.kind == "gather" and len(op.bodies) > 1:
                fewer = op.bodies[:n] + op.bodies[n + 1 :]
                yield (*body[:at], Op(op.kind, op.arguments, fewer), *body[at + 1 :])
            for less in smaller(inner):
                bodies = (*op.bodies[:n], less, *op.bodies[n + 1 :])
                yield (*body[:at], Op(op.kind, op.arguments, bodies), *body[at + 1 :])
