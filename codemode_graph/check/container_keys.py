"""Find what is looked for in a list or dict that holds only values of another kind, such as the text of a number.

`in` is then false and `get` returns its default, both in silence.
"""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from codemode_sandboxes.source import Tree

from codemode_graph.check.clash import single_kind
from codemode_graph.check.types import TypeFindings
from codemode_graph.check.value_shapes import members
from codemode_graph.state import Finding
from codemode_graph.tools.annotations import NULL, Array, Map, Shape, Tuple
from codemode_graph.tools.text import one_line

_LONGEST = 60
_WORDS = {"number": "a number", "str": "a str", "list": "a list", "dict": "a dict"}


class _Search(NamedTuple):
    """A place that looks for something among the items of a list, or the keys of a dict."""

    sought: ast.expr
    container: ast.expr
    line: int
    classes: tuple[type, ...]


def find_never_in(tree: Tree, types: TypeFindings) -> Iterator[Finding]:
    """Yield a finding for each search that never finds anything.

    Args:
        tree: The program's index.
        types: What its values may be.
    """
    fits: list[tuple[_Search, str, str]] = []
    wrong: list[tuple[_Search, str, str]] = []
    for each in _searches(tree):
        sought = single_kind(types.flow.key(each.sought))
        content = single_kind(_content(each, types)) if sought in _WORDS else "any"
        if content in _WORDS:
            (fits if sought == content else wrong).append((each, sought, content))
    # A program that looks for the same in another form is ready for both: `d.get(k) or d.get(str(k))`.
    parts = [(ast.dump(each.container), {ast.dump(n) for n in ast.walk(each.sought)}) for each, *_ in fits if wrong]
    for each, sought, content in wrong:
        same, container = ast.dump(each.sought), ast.dump(each.container)
        if types.is_tested(each.sought) or types.is_tested(each.container):
            continue
        if any(container == one and same in inner for one, inner in parts):
            continue
        name, where = (one_line(ast.unparse(node), _LONGEST) for node in (each.sought, each.container))
        what = "the keys" if all(isinstance(one, Map) for one in members(types.shape(each.container))) else "the items"
        advice = f"; write str({name})" if (sought, content) == ("number", "str") else ""
        message = (
            f"{name} is {_WORDS[sought]}, and each of {what} of {where} is {_WORDS[content]}: it is never found{advice}"
        )
        yield Finding(rule="never-equal", message=one_line(message, 600), line=each.line)


def _content(search: _Search, types: TypeFindings) -> Shape:
    shape = types.shape(search.container)
    whole = all(isinstance(each, search.classes) or each == NULL for each in members(shape))
    return types.flow.items(shape) if whole else NULL


def _searches(tree: Tree) -> Iterator[_Search]:
    for node in tree.of(ast.Compare):
        for left, operator, right in zip((node.left, *node.comparators), node.ops, node.comparators, strict=False):
            if isinstance(operator, ast.In | ast.NotIn) and not isinstance(right, ast.List | ast.Tuple | ast.Set):
                yield _Search(left, right, left.end_lineno or node.lineno, (Array, Tuple, Map))
    for subscript in tree.of(ast.Subscript):
        # A text that is written out is looked up in records: see `wrong_keys`.
        if isinstance(subscript.ctx, ast.Load) and not isinstance(subscript.slice, ast.Slice | ast.Constant):
            yield _Search(subscript.slice, subscript.value, subscript.lineno, (Map,))
    for call in tree.of(ast.Call):
        match call:
            case ast.Call(func=ast.Attribute(attr="get" | "pop", value=container), args=[key, *_]) if not isinstance(
                getattr(key, "value", None), str
            ):
                yield _Search(key, container, container.end_lineno or call.lineno, (Map,))
