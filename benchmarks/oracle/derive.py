"""Find where a value comes from: the task's text, or an expression over what earlier calls returned.

Each expression is evaluated over the recorded results, and kept only where it gives the value.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, TypeAlias

__all__ = ["Origin", "Sources", "Step"]

Origin: TypeAlias = Literal["task", "result", "literal"]
"""`task`: the task's text has it; `result`: an earlier call returned it; `literal`: a model would have to know or write it."""

_MOST = (
    "largest",
    "highest",
    "most",
    "latest",
    "biggest",
    "best",
    "expensive",
    "top",
    "maximum",
    "max",
    "higher",
    "rating",
)
_LEAST = ("smallest", "lowest", "least", "earliest", "cheapest", "fewest", "minimum", "min", "first")
_CAPTURES = (r"\S+", r"[\w.@-]*\w", r"[\d.]*\d", r"[^\n,.!?]+", r"[^\n]+")
_PLAIN: dict[str, Any] = {
    "list": list,
    "len": len,
    "max": max,
    "min": min,
    "sum": sum,
    "float": float,
    "str": str,
    "int": int,
    "sorted": sorted,
    "re": re,
}


@dataclass(frozen=True, slots=True)
class Step:
    """The result of a call, under the name that the program has for it."""

    name: str
    value: Any


@dataclass(slots=True)
class Sources:
    """The task's text and the results so far.

    Attributes:
        text: The task.
        steps: The results, the newest last.
        positions: How often an item was taken by its place in a list, because nothing else tells it apart.
    """

    text: str
    steps: list[Step] = field(default_factory=list)
    positions: int = 0

    def find(self, value: Any) -> tuple[str, Origin]:
        """Return an expression for a value, and where it comes from."""
        if value is None or isinstance(value, bool):
            return repr(value), "task"
        if isinstance(value, list) and value:
            return self._list(value)
        if isinstance(value, dict):
            return self._dict(value)
        if self.says(value):
            return repr(value), "task"
        for expression in self._expressions(value):
            if self.gives(expression, value):
                self.positions += bool(re.search(r"\[[1-9]\d*\]", expression))
                return expression, "result"
        return repr(value), "literal"

    def find_list(self, values: Sequence[Any]) -> tuple[str, list[Any]] | None:
        """Return an expression for a list that an earlier call has whole, filtered or with more after it, and its items."""
        values = list(values)
        for whole in self._lists():
            items = self.evaluate(whole)
            if items == values or (len(values) > 1 and isinstance(items, list) and items[: len(values)] == values):
                return whole, items
        for step in reversed(self.steps):
            for path, node in _nodes(step.value):
                for expression in self._filters(self._path(step, path), node, values):
                    if self.gives(expression, values):
                        return expression, values
        return None

    def says(self, value: Any) -> bool:
        """Return True where the task's text has a value, or all words of it."""
        text = self.text.lower()
        if isinstance(value, int | float):
            forms = {str(value), f"{value:.2f}", f"{value:g}", f"{value:,}"}
            return any(re.search(rf"(?<![\w.]){re.escape(form)}(?![\w]|\.\d)", text) for form in forms)
        words = str(value).lower().split()
        if len(str(value)) < 4:  # so short a text is part of many words
            return bool(words) and re.search(rf"(?<!\w){re.escape(str(value).lower())}(?!\w)", text) is not None
        return bool(words) and (str(value).lower() in text or all(word in text for word in words))

    def gives(self, expression: str, value: Any) -> bool:
        """Return True where an expression over the results gives exactly this value."""
        found = self.evaluate(expression)
        return type(found) is type(value) and bool(found == value)

    def evaluate(self, expression: str) -> Any:
        """Return what an expression gives over the recorded results; None where it raises."""
        try:
            return eval(
                expression, {"__builtins__": _PLAIN, **{step.name: step.value for step in self.steps}, **_PLAIN}
            )
        except Exception:
            return None

    def _dict(self, value: dict[str, Any]) -> tuple[str, Origin]:
        parts = {key: self.find(item) for key, item in value.items()}
        whole = next(
            (e for s in reversed(self.steps) for p, n in _nodes(s.value) if n == value for e in self._path(s, p)), None
        )
        if whole is not None:
            return whole, "result"
        return "{" + ", ".join(f"{key!r}: {found}" for key, (found, _) in parts.items()) + "}", _weakest(parts.values())

    def _list(self, values: list[Any]) -> tuple[str, Origin]:
        if not all(map(self.says, (v for v in values if not isinstance(v, dict | list)))) or isinstance(
            values[0], dict
        ):
            found = self.find_list(values)
            if found is not None and found[1] == values:
                return found[0], "result"
        parts = [self.find(value) for value in values]
        return "[" + ", ".join(found for found, _ in parts) + "]", _weakest(parts)

    def _expressions(self, value: Any) -> Iterator[str]:
        """Yield expressions that may give a value, the most telling first."""
        by_place = []
        for step in reversed(self.steps):
            for path, node in _nodes(step.value):
                if type(node) is type(value) and node == value:
                    for expression in self._path(step, path):
                        if re.search(r"\[[1-9]\d*\]", expression):
                            by_place.append(expression)
                        else:
                            yield expression
                elif isinstance(node, str) and isinstance(value, str | int | float) and 2 < len(str(value)) < len(node):
                    for expression in self._path(step, path):
                        yield from _captures(expression, node, value)
                elif isinstance(node, dict) and value in node:
                    for expression in self._path(step, path):
                        yield from self._keys(expression, node)
                elif isinstance(node, list) and isinstance(value, int) and len(node) == value:
                    yield from (f"len({expression})" for expression in self._path(step, path))
        for step in reversed(self.steps):
            if isinstance(value, str) and isinstance(step.value, list) and str(len(step.value)) == value:
                yield f"str(len({step.name}))"
            for path, node in _nodes(step.value):
                if isinstance(value, str) and isinstance(node, int | float) and not isinstance(node, bool):
                    yield from (f"str({expression})" for expression in self._path(step, path) if str(node) == value)
        yield from by_place

    def _keys(self, expression: str, node: dict[str, Any]) -> Iterator[str]:
        """Yield expressions for one key of a dict: the one with the most, or the one whose value has a word of the task."""
        number = f"float(re.search(r'\\d+\\.?\\d*', str({expression}[key])).group())"
        yield from (f"sorted({expression}, key=lambda key: {sign}{number})[0]" for sign in ("-", ""))
        for value in node.values():
            for word in self._words(value):
                yield f"[key for key in {expression} if {word!r} in str({expression}[key])][0]"

    def _lists(self) -> Iterator[str]:
        """Yield expressions for every list of texts or numbers in the results, and for the lines of a text."""
        for step in reversed(self.steps):
            for path, node in _nodes(step.value):
                for expression in self._path(step, path):
                    if isinstance(node, list):
                        yield expression
                        if node and isinstance(node[0], dict):
                            yield from (f"[item[{key!r}] for item in {expression}]" for key in node[0])
                    elif isinstance(node, dict) and node:
                        yield f"[key for key in {expression}]"
                    elif isinstance(node, str) and "\n" in node:
                        yield f"[line for line in {expression}.split('\\n') if line]"
                        yield f"[line for line in {expression}.partition(': ')[2].split('\\n') if line]"

    def _filters(self, expressions: Sequence[str], node: Any, values: Sequence[Any]) -> Iterator[str]:
        """Yield expressions for those items of a list, or keys of a dict, that a word or a number of the task tells apart."""
        numbers = [float(each.replace(",", "")) for each in re.findall(r"\d[\d,]*\.?\d*", self.text)][:12]
        for expression in expressions:
            if isinstance(node, dict) and set(map(str, values)) <= set(node):
                item = f"{expression}[key]"
                first = f"float(re.search(r'\\d+\\.?\\d*', str({item})).group())"
                best = f"max(float(re.search(r'\\d+\\.?\\d*', str(each)).group()) for each in {expression}.values())"
                tests = [f"{first} == {best}"] if any(word in self.text.lower() for word in _MOST) else []
                tests += [f"{first} {sign} {number:g}" for number in numbers for sign in ("<=", "<", ">=", ">")]
                tests += [f"{word!r} in str({item})" for value in node.values() for word in self._words(value)]
                yield from (f"[key for key in {expression} if {test}]" for test in dict.fromkeys(tests))
            elif isinstance(node, list) and node and isinstance(node[0], dict):
                tests = list(dict.fromkeys(test for item in node for test in self._tests(item)))[:40]
                for key in node[0]:
                    yield from (f"[item[{key!r}] for item in {expression} if {test}]" for test in tests)

    def _path(self, step: Step, path: tuple[Any, ...]) -> list[str]:
        """Return the expressions for a place in a result: items of lists are told apart by what the task says."""
        expressions, node = [step.name], step.value
        for key in path:
            if isinstance(node, list):
                expressions = [picked for each in expressions for picked in self._pick(each, node, key)]
            elif len(node) > 1 and all(isinstance(each, dict) for each in node.values()) and not self.says(key):
                # A dict by ids is a list of records: the id is not known.
                items = list(node.values())
                place = list(node).index(key)
                rows = [picked for each in expressions for picked in self._pick(f"list({each}.values())", items, place)]
                expressions = [row for row in rows if not row.endswith(f")[{place}]") or place == 0] or [
                    f"{each}[{key!r}]" for each in expressions
                ]
            elif re.fullmatch(r"[a-z_][a-z0-9_]*", str(key)) or self.says(key):
                expressions = [f"{each}[{key!r}]" for each in expressions]
            elif len(node) == 1:
                expressions = [f"list({each}.values())[0]" for each in expressions]
            else:
                # A key that neither the task nor the tool's documentation has: it is looked up too.
                keys = [[each, *[k for k in self._keys(each, node) if self.gives(k, key)][:1]] for each in expressions]
                expressions = [f"{found[0]}[{found[1]}]" for found in keys if len(found) == 2]
            node = node[key]
        return expressions[:4]

    def _pick(self, expression: str, items: list[Any], place: int) -> list[str]:
        """Return expressions for one item of a list."""
        if len(items) == 1:
            return [f"{expression}[0]"]
        found, item = [], items[place]
        tests = self._tests(item)
        pairs = [" and ".join(pair) for size in (2, 3) for pair in combinations(tests[:10], size)]
        for test in [*tests, *pairs]:
            fits = [number for number, each in enumerate(items) if _holds(test, each)]
            if fits == [place]:
                found.append(f"[item for item in {expression} if {test}][0]")
            if len(found) == 2:
                break
        if isinstance(item, dict):
            for key, value in item.items():
                numbers: list[Any] = [each.get(key) for each in items if isinstance(each, dict)]
                if isinstance(value, int | float) and all(isinstance(each, int | float) for each in numbers):
                    for words, best, sign in ((_MOST, max(numbers), "-"), (_LEAST, min(numbers), "")):
                        if (
                            value == best
                            and numbers.count(best) == 1
                            and any(word in self.text.lower() for word in words)
                        ):
                            found.append(f"sorted({expression}, key=lambda item: {sign}item[{key!r}])[0]")
        return [*found, f"{expression}[{place}]"]

    def _tests(self, item: Any) -> list[str]:
        """Return tests that an item passes because of what the task says."""
        if isinstance(item, str):
            return [f"{word!r} in item" for word in self._words(item)]
        exact, words = [], []
        for place, value in _scalars(item):
            if isinstance(value, bool):
                exact += [f"item{place}"] if value else []
            elif value is not None and str(value) and self.says(value):
                exact.append(f"item{place} == {value!r}")
            elif isinstance(value, str):
                words += [f"{word!r} in item{place}" for word in self._words(value)[:4]]
        # What is not exact, and true of many, comes last.
        return sorted(exact, key=lambda test: "==" not in test) + words

    def _words(self, value: Any) -> list[str]:
        text = self.text.lower()
        return [
            word
            for word in dict.fromkeys(re.findall(r"[^\W_]{4,}|[A-Z][^\W_]{2,}", str(value)))
            if word.lower() in text
        ][:6]


def _holds(test: str, item: Any) -> bool:
    try:
        return bool(eval(test, {"__builtins__": _PLAIN, "item": item}))
    except Exception:
        return False


def _weakest(parts: Any) -> Origin:
    """Return the origin of a value with parts: a result where one is, unless a part is a literal."""
    origins = {origin for _, origin in parts}
    return "literal" if "literal" in origins else "result" if "result" in origins else "task"


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _nodes(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value[:200]):
            yield from _nodes(item, (*path, place))


def _scalars(item: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(item, dict):
        for key, value in item.items():
            yield from _scalars(value, f"{place}[{key!r}]")
    elif not isinstance(item, list) and place:
        yield place, item


def _captures(expression: str, text: str, value: Any) -> Iterator[str]:
    """Yield expressions that cut a value out of a text, by the words before it."""
    form = str(value)
    if isinstance(value, float) and form not in text:
        form = f"{value:g}"
    place = text.find(form)
    if place < 0:
        return
    line = text[:place].rpartition("\n")[2]
    words = re.findall(r"\S+\s*", line)
    convert = "" if isinstance(value, str) else "int" if isinstance(value, int) else "float"
    for count in range(1, min(4, len(words)) + 1):
        anchor = re.escape("".join(words[-count:])).replace("'", "\\'")
        for capture in _CAPTURES:
            found = f"re.search({anchor + '(' + capture + ')'!r}, {expression}).group(1)"
            yield f"{convert}({found})" if convert else found
    if not words:  # the value begins its line
        start = "^" if place == 0 else "\\n"
        yield from (f"re.search({start + '(' + capture + ')'!r}, {expression}).group(1)" for capture in _CAPTURES)
    shapes = {"@": r"[\w.-]+@[\w.-]+\w", "www.": r"www[.][\w.-]+\w"}
    yield from (f"re.search({shape!r}, {expression}).group()" for mark, shape in shapes.items() if mark in form)
