"""Find comparisons that can never be true: of a text with a number, or with a value that a result never has.

Nothing raises there, so such a program ends well and its answer lacks what was looked for. A type checker has no words for it.
"""

import ast
import difflib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from codemode_sandboxes.source import Tree

from codemode_graph.check.clash import kinds_of, single_kind
from codemode_graph.check.operands import KIND_WORDS, conversion
from codemode_graph.check.tool_uses import assigned
from codemode_graph.check.types import TypeFindings
from codemode_graph.check.value_shapes import join, literal, members
from codemode_graph.state import Finding
from codemode_graph.tools.annotations import NULL, Literals, Record, Shape, Union, Unknown
from codemode_graph.tools.text import listed, one_line

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


def find_never_true(tree: Tree, types: TypeFindings) -> Iterator[Finding]:
    """Yield a finding for each comparison that is never true.

    A value that is also compared with what it may be, as in `x in (5, "5")` or before `elif`, makes none: the program is
    ready for both.

    Args:
        tree: The program's index.
        types: What its values may be.
    """
    found = [test for test in _comparisons(tree) if 0 < len(test.others) <= _MOST_TESTS][:_MOST_TESTS]
    texts = {each.value for test in found for each in (test.value, *test.others) if isinstance(each, ast.Constant)}
    wrong, may_hold = [], []
    for test in found:
        written = [_written(each, tree) for each in (test.value, *test.others)]
        if None not in written:
            continue
        value, *others = (
            each or types.shape(node) for each, node in zip(written, (test.value, *test.others), strict=True)
        )
        if any(isinstance(each, Unknown) for each in (value, *others)):
            continue
        if any(_may_equal(value, other) for other in others):
            may_hold.append(test)
        # A program that asks for one of the values elsewhere knows them, and counts with others that it may be given.
        elif texts.isdisjoint(_values(value)):
            wrong.append((test, value, others[0]))
    known = {name for test in may_hold for name in _names(test)} if wrong else set()
    for test, value, other in wrong:
        if types.is_tested(test.value) or not known.isdisjoint(_names(test)):
            continue
        if not _is_caution(test, value, other):
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
    return foreign and not test.selects and single_kind(value) == single_kind(other)


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
    kind, kind_of_other = single_kind(value), single_kind(other)
    if values and "bool" not in kinds_of(value):
        close = _similar(value, known[0]) if known else None
        hint = "; use one of these, or another field" if close is None else f"; did you mean {close!r}?"
        return f"{name} is never {against}: it is {'one of ' * (len(values) > 1)}{listed(map(repr, values))}{hint}"
    what = "" if known else f", which is {KIND_WORDS[kind_of_other]}"
    text = against if kind_of_other == "str" else name
    record = next((each for each in members(value) if isinstance(each, Record)), None)
    match kind:
        case "dict" if record is not None:
            advice = f"; compare what is under one of its keys: {listed(map(repr, record.fields))}"
        case "list":
            advice = f"; write {against} in {name}"
        case _:
            advice = conversion({kind, kind_of_other}, text)
    if "bool" in kinds_of(value):
        return f"{name} is True or False, and never equals {against}"
    return f"{name} is {KIND_WORDS[kind]}, and never equals {against}{what}{advice}"


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


def _written(node: ast.expr, tree: Tree) -> Shape | None:
    """Return the shape of values that are written out, here or where a variable gets them; None for any other."""
    if isinstance(node, ast.Name) and (scope := tree.owner(node)) is not None and scope.kind != "class":
        nodes = [assigned(tree, binding) for binding in scope.bound[node.id]]
        found = [None if each is None else literal(each) for each in nodes]
        return None if None in found else join(each for each in found if each is not None)
    return literal(node)


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
    kinds = single_kind(one), single_kind(other)
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
