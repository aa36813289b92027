"""Correct the spelling of keys by what earlier calls returned, of tools that declare no result.

What is known is a hint: the tool may return something else today. So a key that is not among the known ones, but spelled
almost as one of them is, keeps its place, and the known one stands in where the key is missing. No program is refused.
"""

import ast
import re
from collections.abc import Collection, Iterable
from dataclasses import replace

from codemode_sandboxes.source import Edits, tree_of

from codemode_graph.catalogue.observation import ObservedSchemas
from codemode_graph.check.stored_keys import StoredKeys
from codemode_graph.check.types import TypeChecker
from codemode_graph.tools.signatures import Signature, Signatures, render_stubs

_UNKNOWN = re.compile(r"Unknown key \"(?P<key>.*)\" for TypedDict `(?P<type>\w+)`.*")


async def correct_keys(
    code: str, called: Iterable[Signature], seen: ObservedSchemas, checker: TypeChecker
) -> tuple[str, list[str]]:
    """Let keys that are spelled almost like a known one fall back on that.

    Args:
        code: A program in script form.
        called: The tools that it calls.
        seen: JSON Schemas of what earlier calls returned, by the names of the tools.
        checker: Says which value has which keys.

    Returns:
        The program, its lines unmoved, and the changes, a line each.

    Raises:
        SandboxError: The type checker does not answer.
    """
    specs = [each.tool for each in called]
    if seen.keys().isdisjoint(spec.name for spec in specs):
        return code, []
    signatures = Signatures.of(
        replace(spec, output_schema=seen[spec.name]) if spec.name in seen else spec for spec in specs
    )
    diagnostics = await checker.type_check(code, render_stubs(signatures))
    tree, edits, fixes = tree_of(code), Edits(code), list[str]()
    stored = StoredKeys(tree)
    found = {}
    for each in diagnostics:
        if (
            each.rule == "invalid-key"
            and (match := _UNKNOWN.fullmatch(each.message))
            and match["type"] in signatures.records
        ):
            found[each.line, match["key"]] = signatures.records[match["type"]].fields.keys()
    for node in tree.of(ast.Subscript):
        if not isinstance(node.slice, ast.Constant) or not isinstance(node.slice.value, str):
            continue
        key = node.slice.value
        near = _near(key, found.get((node.slice.lineno, key), ()))
        # Only a name can stand there twice. In an f-string of Python 3.11 a text has no quotes to spare, and a subscript
        # of a subscript is left alone.
        if (
            near is None
            or stored.may_have(key)
            or not _is_simple(node.value)
            or any(isinstance(above, ast.JoinedStr | ast.Subscript) for above in tree.ancestors(node))
        ):
            continue
        if not isinstance(node.ctx, ast.Load) or node.lineno != node.end_lineno:
            continue
        value = edits.text(node.value)
        edits.replace(*edits.span(node), f"({value}[{key!r}] if {key!r} in {value} else {value}[{near!r}])")
        fixes.append(
            f"line {node.lineno}: {value}[{key!r}] falls back on {near!r}, the key that earlier calls returned"
        )
    return (edits.apply(), fixes) if fixes else (code, [])


def _near(key: str, known: Collection[str]) -> str | None:
    near = [each for each in known if _plain(each) == _plain(key)]
    return near[0] if len(near) == 1 else None


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower()).removesuffix("s")


def _is_simple(node: ast.expr) -> bool:
    match node:
        case ast.Name():
            return True
        case ast.Subscript(value=inner, slice=ast.Constant()):
            return _is_simple(inner)
    return False
