"""Hold what a program looks up in a value against all that the value may be.

A type checker reports each member of a union that has no such key, though the program may know which member it has. And it
reports no `get` of a key that there cannot be, though its value is always the default.
"""

import ast
from collections.abc import Iterable, Iterator

from codemode_sandboxes.source import Tree

from codemode_graph.check.clash import read_type
from codemode_graph.check.expression_types import expression_types
from codemode_graph.check.types import TypeChecker, TypeFindings
from codemode_graph.state import Finding
from codemode_graph.tools.annotations import Array, Literals, Record, Scalar, Shape, Tuple, Union
from codemode_graph.tools.text import one_line


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
    values = [get.value for get, _ in gets] + [each.value for _, subscripts in reports for each in subscripts]
    receivers = {node for node in values if not any(isinstance(above, ast.JoinedStr) for above in tree.ancestors(node))}
    # An empty dict, which stands for a missing value, has this type, and no key.
    kinds = {
        node: read_type(kind.replace("dict[Unknown, Unknown]", "None"), types.records)
        for node, kind in (await expression_types(code, receivers, stubs=stubs, type_checker=type_checker)).items()
    }

    def holds(subscript: ast.Subscript) -> bool:
        kind, key = kinds.get(subscript.value), _key(subscript.slice)
        if key is not None and types.may_be_stored(key):
            return False
        return kind is None or not _may_have(kind, key)

    findings = [finding for finding, subscripts in reports if not subscripts or any(map(holds, subscripts))]
    for get, key in gets:
        kind = kinds.get(get.value)
        if kind is None or _may_have(kind, key):
            continue
        members = kind.members if isinstance(kind, Union) else (kind,)
        record = next((member for member in members if isinstance(member, Record)), None)
        if record is not None and (words := types.never_found(record, key)) is not None:
            findings.append(Finding(rule="wrong-key", message=one_line(words, 600), line=get.end_lineno))
    return findings


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
