"""Hold what a program looks up in a value against all that the value may be.

A type checker reports each member of a union that has no such key, though the program may know which member it has. And it
reports no `get` of a key that there cannot be, though its value is always the default.
"""

import ast
import sys
from collections.abc import Iterable, Iterator

from codemode_sandboxes.source import Edits, Tree

from codemode_graph.check.clash import parsed, read_type
from codemode_graph.check.comparisons import find_never_true
from codemode_graph.check.container_keys import find_never_in
from codemode_graph.check.expression_types import expression_types
from codemode_graph.check.operands import find_wrong_operands
from codemode_graph.check.syntax import exceptions_of
from codemode_graph.check.types import TypeChecker, TypeFindings
from codemode_graph.check.value_shapes import OwnRecord
from codemode_graph.check.wrong_keys import Lookup, Way, find_lookups, may_have, wrong_key
from codemode_graph.state import Finding
from codemode_graph.tools.annotations import Shape, Unknown
from codemode_graph.tools.text import one_line


async def find_wrong_lookups(
    code: str,
    tree: Tree,
    types: TypeFindings,
    found: Iterable[tuple[Finding, tuple[ast.Subscript | ast.Attribute, ...]]],
    *,
    stubs: str,
    type_checker: TypeChecker,
) -> list[Finding]:
    """Return the findings that hold whatever the value is, and those about keys that `get` never finds.

    Args:
        code: The program, in script form.
        tree: Its index.
        types: What its diagnostics say.
        found: Their findings, each with the lookups that it may be about; a finding about something else has none.
        stubs: The tools' declarations.
        type_checker: Says the types.

    Raises:
        SandboxError: The type checker does not answer.
    """
    reports = list(found)
    lookups = list(find_lookups(tree, types)) if types.records else []
    # Only where the program does not tell what a value may be, the type checker is uncertain.
    gets = [each.receiver for each in lookups if each.way == "get" and not types.may_be_stored(each.key)]
    values = {*(each for each in gets if each is not None), *(each.value for _, nodes in reports for each in nodes)}
    uncertain = [each for each in values if not types.is_certain(each) and _has_place(each, tree, code)]
    kinds = {
        # An empty dict, which stands for a missing value, has this type, and no key.
        node: read_type(kind.replace("dict[Unknown, Unknown]", "None"), types.records)
        for node, kind in (await expression_types(code, uncertain, stubs=stubs, type_checker=type_checker)).items()
    }

    def holds(node: ast.Subscript | ast.Attribute) -> bool:
        way: Way = "attribute" if isinstance(node, ast.Attribute) else "key"
        key = node.attr if isinstance(node, ast.Attribute) else _key(node.slice)
        if key is not None and way == "key" and types.may_be_stored(key):
            return False
        kind = kinds.get(node.value) or types.shape(node.value)
        known = not isinstance(kind, Unknown) or node.value in kinds
        return not known or not (may_have(kind, key, way) or _has_stand_in(node, node.value, kind, tree))

    certain = [each for each in reports if not each[1] or any(map(holds, each[1]))]
    # Of a union's members the record, whose keys are told, says more than that another is no dict.
    keyed = {each for finding, nodes in certain if not _is_kind(finding) for each in nodes}
    findings = [each for each, nodes in certain if not (_is_kind(each) and keyed.intersection(nodes))]
    reported = {each for _, nodes in certain for each in nodes}
    for lookup in lookups:
        if lookup.receiver in kinds:
            lookup = lookup._replace(shape=kinds[lookup.receiver])
        method = getattr(lookup.node, "func", None)
        words = None if lookup.node in reported or method in reported else wrong_key(lookup, types)
        # Who writes a dict and catches what it lacks knows its keys; a tool's result never has the key.
        if words is None or (isinstance(lookup.shape, OwnRecord) and _is_caught(lookup.node, tree)):
            continue
        if lookup.receiver is None or not _has_stand_in(lookup.node, lookup.receiver, lookup.shape, tree):
            findings.append(Finding(rule="wrong-key", message=one_line(words, 600), line=_line(lookup, tree)))
    for find in (find_never_true, find_never_in, find_wrong_operands):
        findings += find(tree, types)
    return findings


def _line(lookup: Lookup, tree: Tree) -> int:
    """Return the line of a lookup: in f-strings, Python 3.11 does not always know."""
    line = (lookup.receiver or lookup.node).end_lineno or lookup.node.lineno
    text = next((each for each in tree.ancestors(lookup.node) if isinstance(each, ast.JoinedStr)), None)
    if text is None or text.lineno <= line <= (text.end_lineno or line):
        return line
    return text.end_lineno or text.lineno


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
    handled = [] if isinstance(lookup, ast.Call) else list(_other_ways(lookup, tree))
    nodes = [node for top in (whole, *handled) for node in ast.walk(top)]
    if any(ast.dump(each) == same for node in nodes for each in _alternatives(node)):
        return True
    return any(
        ast.dump(value) == same and may_have(kind, key) for node in nodes for value, key in _looked_up(node) if key
    )


def _is_caught(lookup: ast.AST, tree: Tree) -> bool:
    """Return whether a program goes on where a lookup fails."""
    inside = {lookup, *tree.ancestors(lookup)}
    for around in inside:
        match around:
            case ast.Try(body=body, handlers=handlers) if inside.intersection(body):
                if any(_catches(each, lookup) for each in handlers):
                    return True
            case ast.With(items=items) if any("suppress" in ast.dump(item.context_expr) for item in items):
                return True
    return False


def _catches(handler: ast.ExceptHandler, lookup: ast.AST) -> bool:
    """Return whether a handler catches what a lookup raises."""
    names = {"AttributeError"} if isinstance(lookup, ast.Attribute) else {"KeyError", "LookupError", "TypeError"}
    return bool(exceptions_of(handler) & {"BaseException", "Exception", *names})


def _other_ways(lookup: ast.AST, tree: Tree) -> Iterator[ast.stmt]:
    """Yield what a program does where a lookup fails, or what has failed before it."""
    above = [lookup, *tree.ancestors(lookup)]
    for around in (each for each in above if isinstance(each, ast.Try)):
        for handler in around.handlers:
            if handler in above:
                yield from around.body
            elif _catches(handler, lookup):
                yield from handler.body


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


def _key(node: ast.expr) -> str | None:
    """Return the text that a subscript looks up, None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
