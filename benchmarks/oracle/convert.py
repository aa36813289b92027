"""Write a program for a task, from its right calls: what goes into a call comes from the task and from earlier calls."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.oracle.derive import Sources, Step
from benchmarks.oracle.suites import Case, World

__all__ = ["Converted", "convert"]

_PROBES = 12  # reads that are tried for one value that no earlier call returned


@dataclass(slots=True)
class Converted:
    """A program, and the calls that it makes.

    Attributes:
        program: The program.
        calls: The calls that it makes, in order.
        results: Their results, as JSON.
        rounds: The round of each call, counted from 1, where all calls are made as soon as what goes into them is known.
        origins: How many values are from the task, from results, and literals.
        loops: Loops over the items of a result.
        positions: Items that are taken by their place alone.
    """

    program: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    origins: Counter[str] = field(default_factory=Counter)
    loops: int = 0
    positions: int = 0

    @property
    def flows(self) -> bool:
        """True where a value or a loop depends on what an earlier call returned."""
        return bool(self.loops or self.origins["result"])


class _Writer:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.world: World = case.open()
        self.effects = {tool.name: tool.effect for tool in self.world.tools}
        self.sources = Sources(case.text)
        self.out = Converted()
        self.lines: list[str] = []
        self.rounds: dict[str, int] = {}
        self.round = 0

    def make(self, name: str, arguments: dict[str, Any], text: str) -> tuple[Any, bool]:
        """Call a tool of the recorded world; return its value, and whether it failed.

        Args:
            name: The tool.
            arguments: Its arguments.
            text: The program's expressions for them: their names of results say what the call waits for.
        """
        self.out.calls.append((name, arguments))
        self.round = 1 + max((self.rounds.get(each, 0) for each in re.findall(r"\br\d+\b", text)), default=0)
        self.out.rounds.append(self.round)
        try:
            value = self.world.call(name, arguments)
        except Exception as error:
            self.out.results.append(f"{type(error).__name__}: {error}")
            return None, True
        self.out.results.append(value)
        return value, False

    def keep(self, value: Any) -> str:
        """Return the program's name for a result."""
        name = f"r{len(self.sources.steps) + 1}"
        self.rounds[name] = self.round
        self.sources.steps.append(Step(name, value))
        return name

    def argument(self, value: Any) -> str:
        """Return the expression of an argument, and count where it comes from."""
        before = self.sources.positions
        expression, origin = self.sources.find(value)
        if origin == "literal" and self.look_up(value):
            expression, origin = self.sources.find(value)
        self.out.positions += self.sources.positions - before
        self.out.origins[origin] += 1
        return expression

    def look_up(self, value: Any) -> bool:
        """Write a read that returns a value which no call has returned yet; return False where there is none."""
        wanted = [each for each in (value if isinstance(value, list) else [value]) if not self.sources.says(each)]
        tries = 0
        for tool in self.world.tools:
            required = tool.input_schema.get("required", [])
            if tool.effect != "read" or len(required) != 1 or not isinstance(wanted[0] if wanted else None, str):
                continue
            for candidate in self._candidates(required[0]):
                if (tool.name, {required[0]: candidate}) in self.out.calls or tries >= _PROBES:
                    continue
                tries += 1
                try:
                    found = self.world.call(tool.name, {required[0]: candidate})
                except Exception:
                    continue
                if any(f"'{each}'" in repr(found) for each in wanted):
                    self.call(tool.name, {required[0]: candidate})
                    return True
        return False

    def _candidates(self, name: str) -> list[str]:
        """Return values that were seen under an argument's name, or in a list of its plural."""
        seen: list[Any] = [arguments[name] for _, arguments in self.out.calls if name in arguments]
        stem = name.removesuffix("_id")
        if name == "user_id":
            seen += [step.value for step in self.sources.steps if isinstance(step.value, str)]
        for step in self.sources.steps:
            seen += _under(step.value, {name, f"{stem}s", f"{stem}_ids"})
        return list(dict.fromkeys(each for each in seen if isinstance(each, str)))

    def call(self, name: str, arguments: dict[str, Any]) -> None:
        """Write one call."""
        given = {key: self.argument(value) for key, value in arguments.items()}
        text = f"await tools.{name}({', '.join(f'{key}={expression}' for key, expression in given.items())})"
        value, failed = self.make(name, arguments, text)
        if failed:
            self.lines += ["try:", f"    {text}", "except Exception:", "    pass"]
        elif value is None:
            self.lines.append(text)
        else:
            self.lines.append(f"{self.keep(value)} = {text}")

    def loop(self, name: str, run: Sequence[dict[str, Any]]) -> bool:
        """Write calls that differ in one argument as a loop over a list of a result; return False where they are none."""
        varying = [key for key in run[0] if len({repr(each.get(key)) for each in run}) > 1]
        if len(varying) != 1 or any(each.keys() != run[0].keys() for each in run):
            return False
        values = [each[varying[0]] for each in run]
        found = self.sources.find_list(values)
        reads = self.effects.get(name) == "read"
        if found is None or (found[1] != values and not reads):
            return False
        expression, items = found
        fixed = {key: self.argument(value) for key, value in run[0].items() if key != varying[0]}
        self.out.origins["result"] += 1
        self.out.loops += 1
        arguments = ", ".join([f"{varying[0]}=item", *(f"{key}={value}" for key, value in fixed.items())])
        text = f"{expression} {arguments}"
        made = [self.make(name, {**run[0], varying[0]: item}, text) for item in items]
        call, failed = f"await tools.{name}({arguments})", any(each for _, each in made)
        if not failed and reads:
            gathered = f"await asyncio.gather(*[tools.{name}({arguments}) for item in {expression}])"
            self.lines.append(f"{self.keep([value for value, _ in made])} = {gathered}")
        elif failed and reads:
            kept = self.keep([value for value, _ in made])
            self.lines += [f"{kept} = []", f"for item in {expression}:", "    try:", f"        {kept}.append({call})"]
            self.lines += ["    except Exception:", f"        {kept}.append(None)"]
        elif failed:
            self.lines += [
                f"for item in {expression}:",
                "    try:",
                f"        {call}",
                "    except Exception:",
                "        pass",
            ]
        else:
            self.lines += [f"for item in {expression}:", f"    {call}"]
        return True

    def answer(self) -> str:
        """Return the expression of the answer: the parts that the set looks for, each from a result where one has it."""
        parts = []
        for part in [each for each in re.split(r",\s+|\n|\s+-|;", self.case.answer) if each.strip()]:
            expression, origin = self.sources.find(part.strip())
            for kind in (float, int):
                if origin == "literal" and re.fullmatch(r"\d+(\.\d+)?", part.strip()):
                    try:
                        number, origin = self.sources.find(kind(part.strip()))
                    except ValueError:
                        continue
                    expression = f"format({number}, 'g')" if origin == "result" else repr(part.strip())
            # A sentence of the set's own: no call returns it, and words that the task has are no answer.
            if origin == "task":
                expression, origin = repr(part.strip()), "literal"
            self.out.origins[origin] += 1
            parts.append(expression)
        if parts:
            return "', '.join([" + ", ".join(parts) + "])"
        return self.sources.steps[-1].name if self.sources.steps and not self._wrote() else "'done'"

    def _wrote(self) -> bool:
        return any(self.effects.get(name) == "write" for name, _ in self.out.calls)


def convert(case: Case) -> Converted:
    """Return the program of a task. It is written while the right calls are made in a world of their own."""
    writer = _Writer(case)
    actions = list(case.actions)
    while actions:
        name = actions[0][0]
        run = [arguments for _, arguments in _while_same(actions, name)]
        if len(run) > 1 and name in writer.effects and writer.loop(name, run):
            del actions[: len(run)]
        else:
            writer.call(*actions.pop(0))
    lines = [*writer.lines, writer.answer()]
    imports = [f"import {module}" for module in ("asyncio", "re") if any(f"{module}." in line for line in lines)]
    writer.out.program = "\n".join([*imports, *lines])
    return writer.out


def _while_same(actions: Sequence[tuple[str, dict[str, Any]]], name: str) -> list[tuple[str, dict[str, Any]]]:
    count = next((place for place, (other, _) in enumerate(actions) if other != name), len(actions))
    return list(actions[:count])


def _under(value: Any, names: set[str]) -> list[Any]:
    """Return what stands under some keys, at any depth."""
    found: list[Any] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if key in names:
                found += item if isinstance(item, list) else [item]
            found += _under(item, names)
    elif isinstance(value, list):
        for item in value:
            found += _under(item, names)
    return found
