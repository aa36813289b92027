"""The names that a program finds when it starts: `tools`, with the host's functions, and `round` and `sum` like CPython's.

The functions cross into Monty by name, so that each call suspends in the program's own code: its position is that of
the expression that its author wrote.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from codemode_sandboxes.tool_names import attribute_names

__all__ = ["REFUSAL", "function_names", "unknown_attribute", "write_prelude"]

REFUSAL = "\0refused\0"
"""What the helper `_cm_refuse` prints before its message: the host ends the run then. No `except` of the program sees that,
and it reaches the host also from where no function of the host can be called, such as a sort key."""

_TOOLS = """\
class Tools:
    def __init__(self, names, functions, attributes):
        self._functions = dict(zip(names, functions))
        for name in attributes:
            setattr(self, attributes[name], self._functions[name])
    def __getitem__(self, name):
        if name in self._functions:
            return self._functions[name]
        def pairs(text):
            text = str(text).lower()
            return {text[i:i + 2] for i in range(len(text) - 1)}
        def likeness(known):
            return 2 * len(pairs(known) & pairs(name)) / (len(pairs(known)) + len(pairs(name)) + 1)
        close = sorted([known for known in self._functions if likeness(known) > 0.5], key=likeness, reverse=True)
        last = str(name).split('.')[-1]
        same = [known for known in self._functions if last and known.split('.')[-1] == last]
        hint = '; did you mean ' + ' or '.join([repr(known) for known in same or close[:3]]) + '?' if same or close else ''
        raise KeyError('no tool named ' + repr(name) + hint)
    def __contains__(self, name):
        return name in self._functions
    def __iter__(self):
        return iter(self._functions)
    def __repr__(self):
        return '<tools: ' + ', '.join(self._functions) + '>'
    def keys(self):
        return self._functions.keys()
    def values(self):
        return self._functions.values()
    def items(self):
        return self._functions.items()
    def get(self, name, default=None):
        return self._functions.get(name, default)

tools = Tools(*_parts)
_parts = None
"""

# For a program that names its tools, as nearly all do. The whole class takes as long to compile as such a program to run.
_NAMED_TOOLS = """\
class Tools:
    def __init__(self, functions):
        for name in functions:
            setattr(self, name, functions[name])

tools = Tools(_parts)
_parts = None
"""

_REFUSE = """\
_print = print
def _cm_refuse(message):
    _print('REFUSAL' + message)
""".replace("REFUSAL", REFUSAL.replace("\0", "\\0"))

# Monty's `round` multiplies before it rounds: round(2.675, 2) is 2.68 there, although the float lies below 2.675. To tens
# and hundreds a float is rounded as the integer in it, exactly; what is behind the point decides where that is a tie.
_ROUND = """\
_round = round
def round(number, ndigits=None):
    if type(number) is not float or type(ndigits) not in (int, bool) or number - number != 0:
        return _round(number, ndigits)
    if ndigits >= 0 or number == 0:
        return float(f'{number:.{max(int(ndigits), 0)}f}')
    digits = min(-ndigits, 310)
    whole, unit = int(number), 10 ** digits
    if whole != number and abs(whole) % unit * 2 == unit:
        whole += 1 if whole > 0 else -1
    rounded = float(_round(whole, -digits))
    return -rounded if rounded == 0 and number < 0 else rounded
"""

# CPython has carried the rounding errors of a sum of floats along since 3.12, and those of integers among them since
# 3.14. Monty adds one after the other, so it gets the sum of the Python beside it. Numbers of a range need no list.
_SUM = """\
_sum = sum
def sum(iterable, /, start=0):
    if type(iterable) is range and type(start) is int:
        return _sum(iterable, start)
    items = list(iterable)
    total = _sum(items, start)
    if type(total) is not float:
        return total
    result, error = start, 0.0
    for item in items:
        if type(result) is not float or not (type(item) is float or INTEGERS):
            result += item
            continue
        longer = result + item
        error += (result - longer) + item if abs(result) >= abs(item) else (item - longer) + result
        result = longer
    return result + error if error and error - error == 0 else result
""".replace("INTEGERS", str(sum([1e16, 1, -1e16]) == 1.0))

# The name that each part defines. A program that has no such word in its text has no other way to it.
_PARTS = {"_cm_refuse": _REFUSE, "round": _ROUND} | ({"sum": _SUM} if sum([0.1] * 10) == 1.0 else {})

_WORD = re.compile(r"\w+")
_USE = re.compile(r"\btools\b(?:\.(\w+))?")


def write_prelude(code: str, tools: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return what runs before a program, as far as the program needs it, and the inputs of that.

    Args:
        code: The program's text, with all that is added to it.
        tools: The tools' names.
    """
    # Python takes two spellings of a character in a name for one.
    text = code if code.isascii() else unicodedata.normalize("NFKC", code)
    words = frozenset(_WORD.findall(text))
    prelude = "".join(part for name, part in _PARTS.items() if name in words)
    if "tools" not in words:
        return prelude, {}
    by_attribute = _functions_by_attribute(tuple(tools))
    uses = set(_USE.findall(text))
    if uses <= by_attribute.keys():
        return prelude + _NAMED_TOOLS, {"_parts": {name: _function(by_attribute[name]) for name in uses}}
    functions = [_function(name) for name in function_names(tools)]
    return prelude + _TOOLS, {"_parts": (list(tools), functions, attribute_names(tools))}


def function_names(tools: Sequence[str]) -> Mapping[str, str]:
    """Return the tools by the names of their functions in Monty; a tool's own name could be that of a built-in."""
    return _function_names(tuple(tools))


# Each run asks about the same tools: with a thousand this is most of its start.
@lru_cache(maxsize=32)
def _function_names(tools: tuple[str, ...]) -> Mapping[str, str]:
    return {f"_tool_{number}": tool for number, tool in enumerate(tools)}


@lru_cache(maxsize=32)
def _functions_by_attribute(tools: tuple[str, ...]) -> Mapping[str, str]:
    attributes = attribute_names(tools)
    return {attributes[tool]: name for name, tool in _function_names(tools).items() if tool in attributes}


def _function(name: str) -> Callable[[], None]:
    def function() -> None:
        raise AssertionError("answered by the execution, never called")

    function.__name__ = name
    return function


def unknown_attribute(message: str, tools: Sequence[str]) -> str:
    """Return the message of an `AttributeError`, with a hint where it is about `tools`."""
    found = re.fullmatch(r"'Tools' object has no attribute '(\w+)'", message)
    if found is None:
        return message
    attributes = list(attribute_names(tools).values())
    same = [each for each in attributes if each.endswith(f"_{found[1]}")]
    close = same or difflib.get_close_matches(found[1], attributes, n=3)
    return f"no tool tools.{found[1]}" + (f"; did you mean {' or '.join(close)}?" if close else "")
