"""Hold what a program looks up in a value against all that the value may be.

A type checker reports each member of a union that has no such key, though the program may know which member it has. And it
reports no `get` of a key that there cannot be, though its value is always the default.
"""

import ast
import sys
from collections.abc import Iterable, Iterator

from codemode_sandboxes.source import Edits, Tree

from codemode_graph.check.clash import parsed, read_type
from codemode_graph.check.comparisons import asked_for, doubtful_comparisons, find_never_true
from codemode_graph.check.expression_types import expression_types
from codemode_graph.check.types import TypeChecker, TypeFindings
from codemode_graph.state import Finding
from codemode_graph.tools.annotations import Array, Literals, Record, Scalar, Shape, Tuple, Union
from codemode_graph.tools.text import one_line

_CAUGHT = frozenset({"BaseException", "Exception", "KeyError", "LookupError"})


async def find_wrong_lookups(
    code: str,
    tree: Tree,
    types: TypeFindings,
    found: Iterable[tuple[Finding, tuple[ast.Subscript, ...]]],
    *,
    stubs: str,
    type_checker: TypeChecker,
) -> list[Finding]:
    """Return the findings that hold whatever the value is, and those about keys that `get` never finds.

    Args:
        code: The program, in script form.
        tree: Its index.
        types: What its diagnostics say.
        found: Their findings, each with the subscripts that it may be about; a finding about something else has none.
        stubs: The tools' declarations.
        type_checker: Says the types.

    Raises:
        SandboxError: The type checker does not answer.
    """
    reports = list(found)
    gets = list(_gets(tree, types))
    if not types.records:
        gets.clear()
    comparisons = doubtful_comparisons(tree, types)
    values = [get.value for get, _ in gets] + [each.value for _, subscripts in reports for each in subscripts]
    values += asked_for(comparisons)
    receivers = {node for node in values if _has_place(node, tree, code)}
    # An empty dict, which stands for a missing value, has this type, and no key.
    kinds = {
        node: read_type(kind.replace("dict[Unknown, Unknown]", "None"), types.records)
        for node, kind in (await expression_types(code, receivers, stubs=stubs, type_checker=type_checker)).items()
    }

    def holds(subscript: ast.Subscript) -> bool:
        kind, key = kinds.get(subscript.value), _key(subscript.slice)
        if key is not None and types.may_be_stored(key):
            return False
        return kind is None or not (_may_have(kind, key) or _has_stand_in(subscript, subscript.value, kind, tree))

    certain = [each for each in reports if not each[1] or any(map(holds, each[1]))]
    # Of a union's members the record, whose keys are told, says more than that another is no dict.
    keyed = {each for finding, subscripts in certain if not _is_kind(finding) for each in subscripts}
    findings = [each for each, subscripts in certain if not (_is_kind(each) and keyed.intersection(subscripts))]
    for get, key in gets:
        kind = kinds.get(get.value)
        if kind is None or _may_have(kind, key) or _has_stand_in(tree.parent(get), get.value, kind, tree):
            continue
        members = kind.members if isinstance(kind, Union) else (kind,)
        record = next((member for member in members if isinstance(member, Record)), None)
        if record is not None and (words := types.never_found(record, key)) is not None:
            findings.append(Finding(rule="wrong-key", message=one_line(words, 600), line=get.end_lineno))
    return [*findings, *find_never_true(comparisons, kinds)]


def _is_kind(finding: Finding) -> bool:
    return finding["message"].startswith("this is ")


def _has_place(node: ast.expr, tree: Tree, code: str) -> bool:
    """Return whether an expression stands where its positions say: in f-strings, Python 3.11 does not always know."""
    text = next((each for each in tree.ancestors(node) if isinstance(each, ast.JoinedStr)), None)
    if text is None or sys.version_info >= (3, 12):
        return True
    if not text.lineno <= node.lineno <= (node.end_lineno or 0) <= (text.end_lineno or 0):
        return False
    edits = Edits(code)
    (first, last), (start, end) = edits.span(text), edits.span(node)
    found = parsed(code[start:end]) if first < start < end < last else None
    return found is not None and ast.dump(found) == ast.dump(node)


def _has_stand_in(lookup: ast.AST, receiver: ast.expr, kind: Shape, tree: Tree) -> bool:
    """Return whether a program is ready for a value without a key, and takes another part of the same value, or all of it.

    Such are `r.get("name") or r["title"]`, `r.get("items", r)`, and a lookup in the handler of its `KeyError`.
    """
    same, whole = ast.dump(receiver), lookup
    for above in tree.ancestors(lookup):
        if isinstance(above, ast.stmt) or not any(each is whole for each in _alternatives(above)):
            break
        whole = above
    handled = [
        statement
        for around in tree.ancestors(lookup)
        if isinstance(around, ast.Try) and not isinstance(lookup, ast.Call)
        for handler in around.handlers
        if handler.type is None or _CAUGHT & {each.id for each in ast.walk(handler.type) if isinstance(each, ast.Name)}
        for statement in handler.body
    ]
    nodes = [node for top in (whole, *handled) for node in ast.walk(top)]
    if any(ast.dump(each) == same for node in nodes for each in _alternatives(node)):
        return True
    return any(
        ast.dump(value) == same and _may_have(kind, key) for node in nodes for value, key in _looked_up(node) if key
    )


def _alternatives(node: ast.AST) -> list[ast.expr]:
    """Return the expressions one of which gives an expression its value."""
    match node:
        case ast.BoolOp(op=ast.Or(), values=values):
            return values
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [body, orelse, *([test] if ast.dump(test) == ast.dump(body) else [])]
        case ast.NamedExpr(value=value):
            return [value]
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, ast.List(elts=[default]) as whole]):
            return [whole, default]
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):
            return [default]
    return []


def _looked_up(node: ast.AST) -> list[tuple[ast.expr, str | None]]:
    match node:
        case ast.Subscript(value=value, slice=index):
            return [(value, _key(index))]
        case ast.Call(func=ast.Attribute(attr="get", value=value), args=[index, *_]):
            return [(value, _key(index))]
    return []


def _gets(tree: Tree, types: TypeFindings) -> Iterator[tuple[ast.Attribute, str]]:
    """Yield each `get` of a key that is written out, and the key."""
    for call in tree.of(ast.Call):
        match call:
            case ast.Call(func=ast.Attribute(attr="get") as get, args=[ast.Constant(value=str(key)), *_]) if (
                not types.may_be_stored(key)
            ):
                yield get, key


def _key(node: ast.expr) -> str | None:
    """Return the text that a subscript looks up, None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _may_have(kind: Shape, key: str | None) -> bool:
    """Return whether a value of a type may have a key; None stands for a number."""
    match kind:
        case Union(members):
            return any(_may_have(member, key) for member in members)
        case Record():
            return key is not None and (kind.others is not None or key in kind.fields)
        case Array() | Tuple() | Scalar("str"):
            return key is None
        case Literals(values):
            return key is None and any(isinstance(value, str) for value in values)
        case Scalar():
            return False
    return True
