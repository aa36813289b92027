"""The keys that a program puts into dicts: the tools' types do not have them."""

import ast
from collections.abc import Iterator

from codemode_sandboxes.source import Tree

_SETS = ast.Set | ast.SetComp | ast.List | ast.ListComp | ast.GeneratorExp | ast.Tuple


class StoredKeys:
    """The keys that a program puts into dicts itself, or asks for.

    Args:
        tree: The program.

    Attributes:
        keys: Those that are written out.
        merges: The program merges into some dict, or set.
    """

    def __init__(self, tree: Tree) -> None:
        merged = list(_merged(tree))
        self.keys = frozenset([*_keys(tree), *_written(merged)])
        self.merges = bool(merged)
        # The keys of such a dict stand nowhere in the text.
        self._unknown = any(not isinstance(each, ast.Dict | _SETS) or None in _keys_in(each) for each in merged)

    def may_have(self, key: str) -> bool:
        """Return whether a dict of the program may have a key because the program puts it there."""
        return self._unknown or key in self.keys


def _keys(tree: Tree) -> Iterator[str]:
    for node in tree.of(ast.Subscript, ast.Compare, ast.Call):
        match node:
            case ast.Subscript(slice=ast.Constant(value=str(key)), ctx=ast.Store()):
                yield key
            case ast.Compare(left=ast.Constant(value=str(key)), ops=[ast.In() | ast.NotIn(), *_]):
                yield key
            case ast.Call(func=ast.Attribute(attr="setdefault"), args=[ast.Constant(value=str(key)), *_]):
                yield key
            case ast.Call(func=ast.Attribute(attr="update"), keywords=keywords):
                yield from (keyword.arg for keyword in keywords if keyword.arg)


def _written(merged: list[ast.expr]) -> Iterator[str]:
    """Yield the keys of what is merged that are written out."""
    for display in merged:
        yield from (key for key in _keys_in(display) if key is not None)


def _keys_in(display: ast.expr) -> list[str | None]:
    """Return the keys of a dict that is written out, or of the pairs of a list; None for each that is not a plain text."""
    match display:
        case ast.Dict(keys=keys):
            found: list[ast.expr | None] = list(keys)
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            found = [key for item in items for key in _first_of_pair(item)]
        case ast.ListComp(elt=item) | ast.SetComp(elt=item) | ast.GeneratorExp(elt=item):
            found = _first_of_pair(item)
        case _:
            found = []
    return [key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None for key in found]


def _first_of_pair(item: ast.expr) -> list[ast.expr | None]:
    match item:
        case ast.Tuple(elts=[key, _]) | ast.List(elts=[key, _]):
            return [key]
    return []


def _merged(tree: Tree) -> Iterator[ast.expr]:
    """Yield what is merged into a dict or a set."""
    for node in tree.of(ast.Call, ast.AugAssign):
        match node:
            case ast.Call(func=ast.Attribute(attr="update"), args=arguments, keywords=keywords):
                yield from arguments
                yield from (keyword.value for keyword in keywords if keyword.arg is None)
            case ast.AugAssign(op=ast.BitOr(), value=value):
                yield value
