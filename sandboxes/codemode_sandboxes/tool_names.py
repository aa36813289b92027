"""The names of tools inside a program."""

import keyword
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

__all__ = ["attribute_names"]

_RESERVED = frozenset({"get", "items", "keys", "values"})  # methods of `tools`, which is a mapping


def attribute_names(tools: Iterable[str]) -> dict[str, str]:
    """Return the attribute under which `tools.attribute(...)` calls each tool.

    A name that is an identifier is its own attribute. In any other, each character that cannot stand in an identifier
    becomes an underscore (`list-events` becomes `list_events`). Where two tools would share an attribute, the tool of
    that name gets it, else the first; the others have none, and are called as `tools['name'](...)`.

    Args:
        tools: Tool names, in order.

    Returns:
        Tool name to attribute, for the tools that have one.
    """
    return dict(_attribute_names(tuple(tools)))


# One check of a program asks a dozen times about the same tools: with a thousand this is most of the check.
@lru_cache(maxsize=32)
def _attribute_names(names: tuple[str, ...]) -> Mapping[str, str]:
    plain = {name for name in names if _is_plain(name)}
    attributes = {name: name for name in names if name in plain}
    for name in names:
        attribute = re.sub(r"\W", "_", name, flags=re.ASCII)
        if name not in attributes and _is_plain(attribute) and attribute not in plain:
            attributes[name] = attribute
            plain.add(attribute)
    return attributes


def _is_plain(name: str) -> bool:
    return (
        name.isascii()
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("_")
        and name not in _RESERVED
    )
