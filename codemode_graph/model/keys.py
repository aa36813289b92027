"""Where a key that a program did not find is in what the tools returned."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from codemode_graph.state import ToolCall

__all__ = ["find_key"]

_MOST = 3
_VISITED = 5000


def find_key(key: str, calls: Sequence[ToolCall]) -> list[str]:
    """Find a key, or else those that are spelled most like it, in the values of calls.

    Args:
        key: As the program spelled it.
        calls: Those of the program.

    Returns:
        Places such as `['places'][0]['pieces'] in what tools['stock'] returned`, at most three, the outermost first.
    """
    places: dict[str, list[tuple[int, str]]] = {}
    for call in calls:
        if call["status"] == "done":
            for name, depth, path in _keys(call["value"]):
                places.setdefault(name, []).append((depth, f"{path} in what tools[{call['tool']!r}] returned"))
    names = [key] if key in places else difflib.get_close_matches(key, places, _MOST, cutoff=0.6)
    found = sorted((place for name in names for place in places[name]), key=lambda place: place[0])
    return list(dict.fromkeys(path for _, path in found))[:_MOST]


def _keys(value: Any) -> Iterator[tuple[str, int, str]]:
    """Each key in a value, how deep it is, and the path to it; of a list, the first item stands for all."""
    left = [(value, 0, "")]
    for _ in range(_VISITED):
        if not left:
            return
        item, depth, path = left.pop(0)
        if isinstance(item, list) and item:
            left.append((item[0], depth + 1, f"{path}[0]"))
        elif isinstance(item, dict):
            for name, inner in list(item.items())[:_VISITED]:
                yield name, depth, f"{path}[{name!r}]"
                left.append((inner, depth + 1, f"{path}[{name!r}]"))
