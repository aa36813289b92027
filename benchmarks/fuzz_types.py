"""Programs over tools of random types: does the check refuse a right one, or a fix change its value, or a wrong one pass?

Run it with `python -m benchmarks.fuzz_types 2000`, and with a second number for other programs. Each right program is run by
this Python first, with tools that are plain functions: one that ends with an error there is passed over, and every other one
has to give the same value in code mode. As many wrong programs look up a key that a declared result never has, behind the
program's own functions, lambdas and containers: the check has to refuse each. It prints the programs that are not as they
should be.
"""

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from textwrap import indent
from types import GenericAlias, SimpleNamespace
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict, is_typeddict

from benchmarks.arguments import read_count_and_seed
from codemode_graph import codemode

__all__ = ["Outcomes", "fuzz"]

_KEYS = [
    *("id", "name", "total", "items", "owner", "tags", "kind", "size"),
    *("parent", "meta", "labels", "price", "note", "data", "result", "value"),
]
_TEXTS = ["a", "bc", "", "x y", "open"]
_DEEPEST = 3
_NO_KEY = "nokey"
_PROGRAMS = 6
"""Programs over one set of tools."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type: its annotation, what makes a value of it, and the types of its parts by key."""

    annotation: Any
    make: Callable[[], Any]
    parts: Mapping[str, "_Kind"] = field(default_factory=dict)


@dataclass
class Outcomes:
    """The programs of a run.

    Attributes:
        right: How many gave the value that they give here.
        passed_over: How many end with an error here.
        found: How many wrong ones the check refused.
        wrong: The programs that code mode refuses, or that give another value, each with why.
        missed: The wrong programs that it does not refuse, each with what became of them.
    """

    right: int = 0
    passed_over: int = 0
    found: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)
    missed: list[tuple[str, str]] = field(default_factory=list)


async def fuzz(count: int, seed: int) -> Outcomes:
    """Make and run programs.

    Args:
        count: How many right ones, and how many wrong ones.
        seed: Of the random numbers.
    """
    outcomes = Outcomes()
    for number in range(-(-count // _PROGRAMS)):
        rng = random.Random(f"{seed}.{number}")
        tools = _Tools(rng)
        several = min(_PROGRAMS, count - number * _PROGRAMS)
        programs = [_program(rng, tools) for _ in range(several)]
        wrong = [text for _ in range(several) if (text := _Program(rng, tools).wrong_text()) is not None]
        async with codemode(tools=tools.functions) as session:
            for program, returns in programs:
                try:
                    expected = await _run_here(program, tools.functions)
                except Exception:  # whatever a program raises: it is not right
                    outcomes.passed_over += 1
                    continue
                result = await session.run_code(program, returns=returns)
                if (why := result["error"]) is None and json.dumps(result["output"]) != json.dumps(expected):
                    why = f"it gives {result['output']!r}, not {expected!r}"
                if why is None:
                    outcomes.right += 1
                else:
                    outcomes.wrong.append((program, tools.explain(why)))
            for program in wrong:
                result = await session.run_code(program)
                why = result["error"] or f"it gives {result['output']!r}"
                if _NO_KEY in why and not result["tool_calls"]:
                    outcomes.found += 1
                else:
                    outcomes.missed.append((program, tools.explain(why)))
    return outcomes


class _Tools:
    """Tools that return a value each, and tools that take a part of one."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._records = rng, 0
        self.results: dict[str, Any] = {}
        self.kinds: dict[str, _Kind] = {}
        self.takers: list[str] = []
        self.parts: list[tuple[str, _Kind]] = []
        self.functions: list[Callable[..., Awaitable[Any]]] = []
        for number in range(rng.randint(1, 2)):
            kind = self._kind(0) if rng.random() < 0.5 else self._record(0)
            value, name = kind.make(), f"get_{number}"
            self.results[name], self.kinds[name] = value, kind
            self.functions.append(_function(name, value, {"return": kind.annotation}))
            place, part = f"(await tools.{name}())", kind
            while part.parts and rng.random() < 0.7:
                key = rng.choice(list(part.parts))
                place, part = f"{place}[{key}]", part.parts[key]
            self.functions.append(_function(f"take_{number}", True, {"value": part.annotation, "return": bool}))
            self.parts.append((place, part))
            self.takers.append(f"await tools.take_{number}(value={place})")

    def explain(self, why: str) -> str:
        """Return what is wrong with a program, and the types of the tools."""
        return "\n".join([why, *(f"{each.__name__}: {each.__annotations__}" for each in self.functions)])

    def _kind(self, depth: int) -> _Kind:
        rng = self._rng
        chance = rng.random()
        if depth >= _DEEPEST or chance < 0.3:
            return rng.choice(
                [
                    _Kind(str, lambda: rng.choice(_TEXTS)),
                    _Kind(int, lambda: rng.randint(-3, 9)),
                    _Kind(float, lambda: rng.choice([1.5, 2.0, -0.25])),
                    _Kind(bool, lambda: rng.random() < 0.5),
                    _Kind(Literal["open", "closed"], lambda: rng.choice(["open", "closed"])),
                ]
            )
        if chance < 0.55:
            return self._record(depth)
        if chance > 0.98:
            return _Kind(Any, lambda: rng.choice([1, "z", [1, 2], {"u": 1}, None]))
        inner, other = self._kind(depth + 1), self._kind(depth + 1)
        one = inner.annotation
        if chance < 0.75:
            return _Kind(
                GenericAlias(list, one),
                lambda: [inner.make() for _ in range(rng.randint(1, 3))],
                {"0": inner, "-1": inner},
            )
        if chance < 0.85:
            return _Kind(
                GenericAlias(dict, (str, one)),
                lambda: {key: inner.make() for key in "qw"},
                {"'q'": inner},
            )
        if chance < 0.92:
            return _Kind(one | None, lambda: None if rng.random() < 0.2 else inner.make())
        return _Kind(one | other.annotation, lambda: rng.choice([inner, other]).make())

    def _record(self, depth: int) -> _Kind:
        self._records += 1
        fields = {key: self._kind(depth + 1) for key in self._rng.sample(_KEYS, self._rng.randint(1, 4))}
        rare = {key for key in fields if self._rng.random() < 0.25}
        types = {key: NotRequired[kind.annotation] if key in rare else kind.annotation for key, kind in fields.items()}
        return _Kind(
            TypedDict(f"Record{self._records}", types),  # type: ignore[operator]
            lambda: {key: kind.make() for key, kind in fields.items() if key not in rare or self._rng.random() < 0.7},
            {repr(key): kind for key, kind in fields.items() if key not in rare},
        )


def _program(rng: random.Random, tools: _Tools) -> tuple[str, Any]:
    """Make a program, and the type that its answer is declared to have, or None."""
    if rng.random() < 0.7:
        return _Program(rng, tools).text(), None
    place, kind = rng.choice(tools.parts)
    one = kind.annotation
    answers = [
        (place, one),
        (f"x = {place}\nx", one),
        (f"def f(d):\n    return d\nf({place})", one),
        (f"[{place}]", GenericAlias(list, one)),
        (f"x = []\nx.append({place})\nx", GenericAlias(list, one)),
        (f"{{'one': {place}, 'more': 1}}", TypedDict("Answer", {"one": one, "more": int})),  # type: ignore[operator]
        (f"x = {{}}\nx['one'] = {place}\nx", TypedDict("Answer", {"one": one})),  # type: ignore[operator]
        (f"{{str(i): {place} for i in range(2)}}", GenericAlias(dict, (str, one))),
        (f"{place} if len('a') else None", one | None),
    ]
    return rng.choice(answers)


class _Program:
    """A program: its lines, and the expressions of the list that is its value."""

    def __init__(self, rng: random.Random, tools: _Tools) -> None:
        self._rng, self._tools = rng, tools
        self._lines: list[str] = []
        self._values: list[str] = []

    def text(self) -> str:
        """Write the program."""
        names = {}
        for number in range(self._rng.randint(1, 2)):
            tool = self._rng.choice(list(self._tools.results))
            self._lines.append(f"r{number} = await tools.{tool}()")
            names[f"r{number}"] = self._tools.results[tool]
        for _ in range(self._rng.randint(1, 3)):
            name = self._rng.choice(list(names))
            self._add(name, names[name])
        if self._rng.random() < 0.3:
            self._values.append(self._rng.choice(self._tools.takers))
        return "\n".join([*self._lines, f"[{', '.join(self._values)}]"])

    def wrong_text(self) -> str | None:
        """Write a program that looks up a key which is never there; None where no result has a place for one."""
        name, kind = self._rng.choice(list(self._tools.kinds.items()))
        several = "0" in kind.parts
        if (part := self._wrong_part("x", kind.parts["0"] if several else kind)) is None:
            return None
        self._lines.append(f"r0 = await tools.{name}()")
        self._pass_on("r0", part, several=several, merges=is_typeddict(kind.annotation))
        return "\n".join([*self._lines, f"[{', '.join(self._values)}]"])

    def _wrong_part(self, place: str, kind: _Kind) -> str | None:
        inner = [(key, each) for key, each in kind.parts.items() if each.parts]
        if is_typeddict(kind.annotation) and (not inner or self._rng.random() < 0.5):
            return self._rng.choice(
                [f"{place}[{_NO_KEY!r}]", f"{place}.get({_NO_KEY!r})", f"{place}.get({_NO_KEY!r}, 0)"]
            )
        if not inner:
            return None
        key, each = self._rng.choice(inner)
        return self._wrong_part(f"{place}[{key}]", each)

    def _pass_on(self, name: str, part: str, *, several: bool, merges: bool) -> None:
        """Add a part `x...` of a result, or of each of its items, behind a function, a lambda or a container."""
        new = f"v{len(self._lines)}"
        define = f"def {new}(x):\n    return {part}"
        ways = [
            (define, f"{new}({name})"),
            (f"def {new}(*, x, y=1):\n    return {part}", f"{new}(x={name})"),
            (f"{define}\ndef {new}_(x):\n    return {new}(x)", f"{new}_({name})"),
            (f"{new} = lambda x: {part}", f"{new}({name})"),
            (f"async def {new}(x):\n    return {part}", f"await {new}({name})"),
            (f"async def {new}():\n    return {name}, 1\nx, _ = await {new}()", part),
            (f"{new} = {{'a': {name}}}\nx = {new}['a']", part),
        ]
        if merges:
            ways += [
                (f"x = {name} | {{'more': 1}}", part),
                (f"x = {{**{name}, 'more': 1}}", part),
                (f"x = dict({name})", part),
            ]
        if several:
            group = f"for y in {name}:\n    {new}"
            ways = [
                (define, f"[{new}(y) for y in {name}]"),
                (define, f"list(map({new}, {name}))"),
                (define, f"[str(y) for y in sorted({name}, key=lambda y: str({new}(y)))]"),
                (f"def {new}(rows):\n    return [{part} for x in rows]", f"{new}({name})"),
                (f"{new} = lambda x: {part}", f"[{new}(y) for y in {name}]"),
                (f"{new} = list(map(lambda x: {part}, {name}))", new),
                (f"{new} = sorted({name}, key=lambda x: str({part}))", f"len({new})"),
                (f"{new} = max({name}, key=lambda x: str({part}))", f"str({new})"),
                (f"{new} = list(filter(lambda x: {part} is not None, {name}))", f"len({new})"),
                (
                    f"import asyncio\nasync def {new}(x):\n    return {part}",
                    f"list(await asyncio.gather(*[{new}(y) for y in {name}]))",
                ),
                (f"{new} = {{}}\n{group}.setdefault(1, []).append(y)", f"[{part} for x in {new}[1]]"),
                (
                    f"from collections import defaultdict\n{new} = defaultdict(list)\n{group}[len(str(y))].append(y)",
                    f"[[{part} for x in g] for g in {new}.values()]",
                ),
                (f"{new} = []\n{new} += {name}", f"[{part} for x in {new}]"),
                (f"{new} = {{i: y for i, y in enumerate({name})}}", f"[{part} for i, x in {new}.items()]"),
            ]
        line, value = self._rng.choice(ways)
        self._lines.append(line)
        self._values.append(value)

    def _add(self, name: str, value: Any) -> None:
        """Add something that is made of a result."""
        new = f"v{len(self._lines)}"
        chance = self._rng.random()
        if self._rng.random() < 0.35:
            several = isinstance(value, list) and bool(value)
            merges = isinstance(value, dict)
            if (several or merges) and self._rng.random() < 0.3:
                self._change(name, value)
                return
            self._pass_on(name, self._part("x", value[0] if several else value), several=several, merges=merges)
            return
        if chance < 0.1:
            self._lines.append(f"def {new}(d):\n    return {self._part('d', value)}")
            self._values.append(f"{new}({name})")
        elif chance < 0.2 and isinstance(value, list) and value:
            self._lines.append(f"{new} = []\nfor item in {name}:\n    {new}.append({self._part('item', value[0])})")
            self._values.append(new)
        elif chance < 0.28:
            self._lines.append(f"{new} = {name}")
            self._values.append(self._part(new, value))
        elif chance < 0.34:
            part = self._part(name, value)
            self._lines.append(f"try:\n    {new} = {part}\nexcept (KeyError, TypeError):\n    {new} = None")
            self._values.append(new)
        elif chance < 0.4 and isinstance(value, dict) and value:
            key = self._rng.choice(list(value))
            part = self._part(f"{name}[{key!r}]", value[key])
            self._lines.append(f"{new} = None\nif {key!r} in {name}:\n    {new} = {part}")
            self._values.append(new)
        elif chance < 0.45 and isinstance(value, dict):
            self._lines.append(f"{name}['extra'] = 7")
            self._values.append(f"{name}['extra'] + {name}.get('extra', 0)")
        elif chance < 0.55 and value is not None:
            self._values.append(f"{self._part(name, value)} if isinstance({name}, {type(value).__name__}) else None")
        else:
            self._values.append(self._part(name, value))

    def _change(self, name: str, value: Any) -> None:
        """Put something into a result that its type does not have, and look that up."""
        new = f"v{len(self._lines)}"
        more = "{'extra': 7}"
        ways = [
            f"{name}['extra'] = 7",
            f"{name}.update({more})",
            f"{name}.update(extra=7)",
            f"{name}.update([('extra', 7)])",
            f"{name} |= {more}",
            f"{name}.setdefault('extra', 7)",
            f"key = 'ext' + 'ra'\n{name}[key] = 7",
            f"for key, one in {more}.items():\n    {name}[key] = one",
            f"def {new}_(x, key, one):\n    x[key] = one\n{new}_({name}, 'extra', 7)",
            f"def {new}_(x, **more):\n    x.update(more)\n{new}_({name}, extra=7)",
            f"other = {name}\nother['extra'] = 7",
            f"box = [{name}]\nfor one in box:\n    one['extra'] = 7",
            f"box = {{'a': {name}}}\nbox['a'].update({more})",
            f"{name} = {{**{name}, **{more}}}",
            f"{name} = dict({name}, extra=7)",
            f"if len('a'):\n    {name} = {more}",
        ]
        place = name
        if isinstance(value, list):
            place = f"{name}[0]"
            ways = [
                f"{name}.insert(0, {more})",
                f"{name}[0] = {more}",
                f"{name}[0], _ = {more}, 1",
                f"{name}[:1] = [{more}]",
                f"{name} = [{more}] + {name}",
                f"{name} = [{more}, *{name}]",
                f"{name}.append({more})\n{name}.reverse()",
                f"{name} += [{more}]\n{name}.reverse()",
                f"{name}.extend([{more}])\n{name} = {name}[::-1]",
                f"other = {name}\nother.insert(0, {more})",
                f"box = {{'a': {name}}}\nbox['a'].insert(0, {more})",
                f"def {new}_(x):\n    x.insert(0, {more})\n{new}_({name})",
                f"def {new}_(x, i, one):\n    x[i] = one\n{new}_({name}, 0, {more})",
                f"def {new}_(x):\n    return [{more}, *x]\n{name} = {new}_({name})",
                f"from collections import deque\n{name} = deque({name})\n{name}.appendleft({more})",
            ]
        self._lines.append(self._rng.choice(ways))
        self._lines.append(f"def {new}(x):\n    return x['extra'] + x.get('extra', 0)")
        self._values.append(f"{new}({place})")

    def _part(self, place: str, value: Any, depth: int = 0) -> str:
        """Write an expression over a value that stands somewhere."""
        rng = self._rng
        if depth > 4:
            return place
        match value:
            case {} if value:
                key = rng.choice(list(value))
                inner = rng.choice(
                    [
                        *[f"{place}[{key!r}]"] * 4,
                        f"{place}.get({key!r})",
                        f"{place}.get({key!r}, None)",
                        f"({place}.get({key!r}) or {value[key]!r})",
                        f"list({place}.values())[{list(value).index(key)}]",
                        f"dict({place})[{key!r}]",
                        f"{{**{place}, 'more': 1}}[{key!r}]",
                    ]
                )
                ends = [f"list({place})", f"sorted({place}.keys())", f"len({place})", f"{key!r} in {place}"]
                return self._part(inner, value[key], depth + 1) if rng.random() < 0.7 else rng.choice(ends)
            case [first, *_]:
                if rng.random() < 0.5:
                    at = rng.choice(["0", "-1", ":2"])
                    item = value[:2] if at == ":2" else value[int(at)]
                    return self._part(f"{place}[{at}]", item, depth + 1)
                name = f"x{depth}"
                loop = f"[{self._part(name, first, depth + 2)} for {name} in {place}]"
                again = self._part(f"next(iter({place}))", first, depth + 1)
                return rng.choice([loop, again, f"len({place})", f"[*{place}]", f"list(reversed({place}))"])
            case str() | int() | float() if rng.random() < 0.15:
                return rng.choice([f"{place} == {value!r}", f"{place} in ({value!r}, None)", f"{value!r} != {place}"])
            case str():
                return rng.choice([f"{place}.upper()", f"{place} + '!'", f"len({place})", f"{place}[:1]", place])
            case bool():
                return rng.choice([f"not {place}", f"int({place})", place])
            case int() | float():
                return rng.choice([f"{place} + 1", f"round({place})", f"str({place})", f"{place} > 0", place])
            case None:
                return rng.choice([f"{place} is None", f"({place} or 5)", f"'-' if {place} is None else {place}"])
        return place


def _function(name: str, value: Any, annotations: dict[str, Any]) -> Callable[..., Awaitable[Any]]:
    if "value" in annotations:

        async def function(value: Any) -> Any:
            return True

    else:

        async def function() -> Any:  # type: ignore[misc]
            return deepcopy(value)

    function.__name__, function.__doc__, function.__annotations__ = name, "Do it.", annotations
    return function


async def _run_here(program: str, functions: list[Callable[..., Awaitable[Any]]]) -> Any:
    *lines, value = program.split("\n")
    names: dict[str, Any] = {"tools": SimpleNamespace(**{each.__name__: each for each in functions})}
    exec(f"async def main():\n{indent(chr(10).join([*lines, f'return {value}']), '    ')}", names)
    return await names["main"]()


def main() -> None:
    """Run the fuzzer, and print what it finds."""
    count, seed = read_count_and_seed("benchmarks.fuzz_types", __doc__, count=2_000, cases="programs")
    outcomes = asyncio.run(fuzz(count, seed))
    for program, why in (*outcomes.wrong, *outcomes.missed):
        print(f"{why}\n{indent(program, '    ')}\n")
    print(f"{outcomes.right:,} right, {len(outcomes.wrong):,} refused or changed, {outcomes.passed_over:,} passed over")
    print(f"{outcomes.found:,} wrong ones found, {len(outcomes.missed):,} missed")
    sys.exit(bool(outcomes.wrong or outcomes.missed))


if __name__ == "__main__":
    main()
