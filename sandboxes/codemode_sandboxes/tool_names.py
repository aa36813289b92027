"""The names of tools inside a program."""

import keyword
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

__all__ = ["ToolNames", "attribute_names"]

_RESERVED = frozenset({"get", "items", "keys", "values"})  # methods of `tools`, which is a mapping


def attribute_names(tools: Iterable[str]) -> dict[str, str]:
    """Return the attribute under which `tools.attribute(...)` calls each tool.

    A name that is an identifier is its own attribute. In any other, each character that cannot stand in an identifier
    becomes an underscore (`list-events` becomes `list_events`). Where tools would share an attribute, only one of that
    very name has it: a program that wrote the attribute could mean any of the others, which are called as
    `tools['name'](...)`.

    Args:
        tools: Tool names, in order.

    Returns:
        Tool name to attribute, for the tools that have one.
    """
    return dict(_attribute_names(tuple(tools)))


# Each guest of a run asks about the same tools: with a thousand this is most of its start.
@lru_cache(maxsize=32)
def _attribute_names(names: tuple[str, ...]) -> Mapping[str, str]:
    own = {name: name for name in names if _is_plain(name)}
    others = {name: re.sub(r"\W", "_", name, flags=re.ASCII) for name in dict.fromkeys(names) if name not in own}
    shared = Counter(others.values())
    fitting = {name: each for name, each in others.items() if _is_plain(each) and each not in own and shared[each] == 1}
    return own | fitting


class ToolNames(Sequence[str]):
    """The names of the tools that programs may call, indexed once for all programs.

    Args:
        names: The names, in order; of equal ones, the first.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._known = frozenset(self._names)

    @cached_property
    def attributes(self) -> Mapping[str, str]:
        """The attribute under which each tool is called; see `attribute_names`."""
        return attribute_names(self._names)

    @cached_property
    def by_attribute(self) -> Mapping[str, str]:
        """The tool that each attribute calls."""
        return {attribute: name for name, attribute in self.attributes.items()}

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: Any) -> Any:
        return self._names[index]


def _is_plain(name: str) -> bool:
    return (
        name.isascii()
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("_")
        and name not in _RESERVED
    )
