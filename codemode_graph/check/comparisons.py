"""Find comparisons that can never be true: of a text with a number, or with a value that a result never has.

Nothing raises there, so such a program ends well and its answer lacks what was looked for. A type checker has no words for it.
"""

import ast
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from codemode_sandboxes.source import Tree

from codemode_graph.check.clash import kinds_of
from codemode_graph.check.types import TypeFindings
from codemode_graph.state import Finding
from codemode_graph.tools.annotations import NULL, Literals, Shape, Union
from codemode_graph.tools.text import listed, one_line

_WORDS = {"number": "a number", "str": "a str", "list": "a list", "dict": "a dict"}
_LONGEST = 60
_MOST_TESTS = 500
# Of difflib's ratio: "canceled" is near "cancelled", and "lost" is not near "closed".
_NEAR = 0.8


class Comparison(NamedTuple):
    """A value that is compared with others: `value == other`, `value in (other, other)`, `case other | other`.

    Attributes:
        value: The value.
        others: What it is compared with.
        line: Where.
        selects: False where a program loses nothing if they are never equal, as in `if value == other: raise ...`.
    """

    value: ast.expr
    others: tuple[ast.expr, ...]
    line: int
    selects: bool


def doubtful_comparisons(tree: Tree, types: TypeFindings) -> list[Comparison]:
    """Return the comparisons that the fields of the names that they read may never make true.

    Args:
        tree: The program's index.
        types: What is known of the tools' values.
    """
    found = [test for test in _comparisons(tree) if 0 < len(test.others) <= _MOST_TESTS][:_MOST_TESTS]
    texts = {each.value for test in found for each in (test.value, *test.others) if isinstance(each, ast.Constant)}
    doubtful, known = [], set[str]()
    for test in found:
        shapes, *others = (_shapes(each, types) for each in (test.value, *test.others))
        if shapes is None or None in others or all(_is_own(each, types) for each in (test.value, *test.others)):
            continue
        pairs = [(one, other) for one in shapes for each in others for other in each or ()]
        if all(_may_equal(one, other) for one, other in pairs):
            known |= _names(test)
        # A program that asks for one of the values elsewhere knows them, and counts with others that it may be given.
        elif texts.isdisjoint(value for shape in shapes for value in _values(shape)):
            doubtful.append(test)
    return [test for test in doubtful if known.isdisjoint(_names(test))]


def asked_for(comparisons: Sequence[Comparison]) -> Iterator[ast.expr]:
    """Yield the expressions of comparisons whose types decide about them."""
    for test in comparisons:
        yield from (each for each in (test.value, *test.others) if not isinstance(each, ast.Constant))


def find_never_true(comparisons: Sequence[Comparison], kinds: Mapping[ast.expr, Shape]) -> Iterator[Finding]:
    """Yield a finding for each comparison that is never true.

    A value that is also compared with what it may be, as in `x in (5, "5")` or before `elif`, makes none: the program is
    ready for both.

    Args:
        comparisons: The doubtful ones.
        kinds: What the type checker says of their expressions.
    """
    wrong, known = [], set[str]()
    for test in comparisons:
        value, *others = (
            _literal(each) if isinstance(each, ast.Constant) else kinds.get(each) for each in (test.value, *test.others)
        )
        if value is None or any(other is None or _may_equal(value, other) for other in others):
            known |= _names(test)
        else:
            wrong.append((test, value, others[0]))
    for test, value, other in wrong:
        if other is None or not known.isdisjoint(_names(test)) or _is_caution(test, value, other):
            continue
        yield Finding(rule="never-equal", message=one_line(_tell(test, value, other), 600), line=test.line)


def _names(test: Comparison) -> set[str]:
    return {ast.dump(each) for each in (test.value, *test.others) if not isinstance(each, ast.Constant)}


def _is_caution(test: Comparison, value: Shape, other: Shape) -> bool:
    """Return whether a program is only ready for what the tool does not declare, such as a status "error" or an empty text."""
    if _values(other) == ("",):
        return True
    foreign = bool(_values(value)) and all(
        isinstance(each, ast.Constant) and not _similar(value, each.value) for each in test.others
    )
    return foreign and not test.selects and _kind(value) == _kind(other)


def _similar(shape: Shape, value: object) -> str | None:
    """Return the text among a type's values that is spelled most like a value; None where none is."""
    texts = [each for each in _values(shape) if isinstance(each, str)]
    close = difflib.get_close_matches(str(value).lower(), [each.lower() for each in texts], 1, _NEAR)
    return next((each for each in texts if close == [each.lower()]), None)


def _tell(test: Comparison, value: Shape, other: Shape) -> str:
    name, against = one_line(ast.unparse(test.value), _LONGEST), one_line(ast.unparse(test.others[0]), _LONGEST)
    values, known = _values(value), _values(other)
    if len(known) == 1:
        against = repr(known[0])
    kind, kind_of_other = _kind(value), _kind(other)
    if values and "bool" not in kinds_of(value):
        close = _similar(value, known[0]) if known else None
        hint = "" if close is None else f"; did you mean {close!r}?"
        return f"{name} is never {against}: it is {'one of ' * (len(values) > 1)}{listed(map(repr, values))}{hint}"
    what = "" if known else f", which is {_WORDS[kind_of_other]}"
    advice = "; turn one into the other by str(...)" if {kind, kind_of_other} == {"str", "number"} else ""
    if "bool" in kinds_of(value):
        return f"{name} is True or False, and never equals {against}"
    return f"{name} is {_WORDS[kind]}, and never equals {against}{what}{advice}"


def _comparisons(tree: Tree) -> Iterator[Comparison]:
    for node in tree.of(ast.Compare):
        for left, operator, right in zip((node.left, *node.comparators), node.ops, node.comparators, strict=False):
            match operator, right:
                case ast.Eq() | ast.NotEq(), _:
                    value, other = (right, left) if isinstance(left, ast.Constant) else (left, right)
                    line = value.end_lineno or node.lineno
                    yield Comparison(value, (other,), line, _selects(node, isinstance(operator, ast.Eq), tree))
                case ast.In() | ast.NotIn(), ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                    line = left.end_lineno or node.lineno
                    yield Comparison(left, tuple(items), line, _selects(node, isinstance(operator, ast.In), tree))
    for match in tree.of(ast.Match):
        for case in match.cases:
            patterns = case.pattern.patterns if isinstance(case.pattern, ast.MatchOr) else [case.pattern]
            if all(isinstance(each, ast.MatchValue) for each in patterns):
                values = [each.value for each in patterns if isinstance(each, ast.MatchValue)]
                yield Comparison(match.subject, tuple(values), case.pattern.lineno, not _only_leaves(case.body))


def _selects(test: ast.expr, equal: bool, tree: Tree) -> bool:
    """Return whether a program goes on with what it looks for where a test is `equal`, and not only where it is not."""
    parent = tree.parent(test)
    while isinstance(parent, ast.BoolOp) or (isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.Not)):
        equal ^= isinstance(parent, ast.UnaryOp)
        test, parent = parent, tree.parent(parent)
    match parent:
        case ast.If(test=condition, body=body) if condition is test:
            # After `if status != "active": continue` only what is equal is left.
            return _only_leaves(body) != equal
        case ast.IfExp(test=condition, body=chosen, orelse=other) if condition is test:
            return any(isinstance(each, ast.Name) for each in ast.walk(chosen if equal else other))
    return equal


def _only_leaves(body: Sequence[ast.stmt]) -> bool:
    """Return whether statements do nothing but say that something is wrong, and leave what is around them."""
    return all(map(_leaves, body))


def _leaves(statement: ast.stmt) -> bool:
    match statement:
        case ast.Raise() | ast.Continue() | ast.Break() | ast.Pass():
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
            return True
        case ast.Return(value=value):
            named = (each for each in ast.walk(value or statement) if isinstance(each, ast.Name))
            return isinstance(value, ast.JoinedStr) or next(named, None) is None
    return False


def _shapes(node: ast.expr, types: TypeFindings, depth: int = 0) -> list[Shape] | None:
    """Return the types that a value has in the tools' declarations, by the key that it stands under; None if not known."""
    if depth > 20:  # variables may be assigned to one another in a circle
        return None
    match node:
        case ast.Constant(value=str() | int() | float()):
            return [_literal(node)]
        case ast.Subscript(value=inner, slice=ast.Constant(value=str(key))):
            return _fields(inner, key, types)
        case ast.Call(func=ast.Attribute(value=inner, attr="get"), args=[ast.Constant(value=str(key))], keywords=[]):
            return _fields(inner, key, types)
        case ast.Call(
            func=ast.Attribute(value=inner, attr="get"),
            args=[ast.Constant(value=str(key)), ast.Constant() as default],
            keywords=[],
        ):
            shapes = _fields(inner, key, types)
            return None if shapes is None else [*shapes, _literal(default)]
        case ast.NamedExpr(value=inner):
            return _shapes(inner, types, depth + 1)
        case ast.Await(value=ast.Call(func=function)):
            shape = types.result_of(function)
            return None if shape is None else [shape]
        case ast.Name():
            sources = types.sources(node)
            found = [None if source is None else _shapes(source, types, depth + 1) for source in sources]
            return [shape for each in found for shape in each or ()] if sources and None not in found else None
    return None


def _is_own(node: ast.expr, types: TypeFindings) -> bool:
    """Return whether a value is written out in the program."""
    if isinstance(node, ast.Name):
        return all(isinstance(each, ast.Constant) for each in types.sources(node))
    return isinstance(node, ast.Constant)


def _fields(receiver: ast.expr, key: str, types: TypeFindings) -> list[Shape] | None:
    if not types.is_from_tools(receiver) or types.may_be_stored(key):
        return None
    records = types.records.values()
    return [record.fields[key].shape for record in records if key in record.fields] or None


def _literal(node: ast.Constant) -> Shape:
    return Literals((node.value,))


def _values(shape: Shape) -> tuple[object, ...]:
    """Return all values that a type has, but None; nothing where they are not listed."""
    members = _members(shape)
    if not members or not all(isinstance(each, Literals) for each in members):
        return ()
    return tuple(value for each in members if isinstance(each, Literals) for value in each.values)


def _may_equal(one: Shape, other: Shape) -> bool:
    first, second = _members(one), _members(other)
    # A comparison with None is a test, whatever the types say.
    return not first or not second or any(_are_alike(each, against) for each in first for against in second)


def _are_alike(one: Shape, other: Shape) -> bool:
    kinds = _kind(one), _kind(other)
    if "any" in kinds or kinds[0] != kinds[1]:
        return "any" in kinds
    if isinstance(one, Literals) and isinstance(other, Literals):
        return any(value == each for value in one.values for each in other.values)
    return True


def _members(shape: Shape) -> list[Shape]:
    """Return the members of a type, but None."""
    match shape:
        case Union(members):
            return [each for member in members for each in _members(member)]
        case Literals(values):
            rest = tuple(value for value in values if value is not None)
            return [Literals(rest)] if rest else []
    return [] if shape == NULL else [shape]


def _kind(shape: Shape) -> str:
    """Return the kind that a type's values have, but None; "any" where there are several."""
    kinds = {"number" if kind == "bool" else kind for kind in kinds_of(shape)} - {"None"}
    return kinds.pop() if len(kinds) == 1 else "any"
