"""Ask the type checker for the types of expressions."""

import ast
import re
from collections.abc import Iterable
from itertools import accumulate

from codemode_sandboxes.source import Edits

from codemode_graph.check.types import TypeChecker

_QUESTION = "reveal_type("


async def expression_types(
    code: str, nodes: Iterable[ast.expr], *, stubs: str, type_checker: TypeChecker
) -> dict[ast.expr, str]:
    """Return the types of expressions where they stand, as the type checker writes them.

    Args:
        code: The program, in script form.
        nodes: The expressions. None of them stands in an f-string: Python 3.11 has no positions there.
        stubs: The tools' declarations.
        type_checker: Says the types.

    Returns:
        The types by the expressions. An expression that is never reached has none, nor has any expression of a program
        that asks such questions itself, or where a later type checker answers in other words.

    Raises:
        SandboxError: The type checker does not answer.
    """
    expressions = list(nodes)
    if not expressions or _QUESTION in code:
        return {}
    edits = Edits(code)
    spans = {node: edits.span(node) for node in expressions}
    for start, end in spans.values():
        edits.insert(start, _QUESTION)
        edits.insert(end, ")")
    text = edits.apply()
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    questions = [found.end() for found in re.finditer(re.escape(_QUESTION), text)]
    # Of expressions that begin at one place, the outer one is asked for first.
    by_place = dict(zip(questions, sorted(spans, key=lambda node: (spans[node][0], -spans[node][1])), strict=True))
    types = {}
    for each in await type_checker.type_check(text, stubs):
        answer = re.fullmatch(r"Revealed type: `(.+)`", each.message, re.DOTALL)
        node = by_place.get(starts[each.line - 1] + each.column - 1)
        if each.rule == "revealed-type" and answer and node is not None:
            types[node] = answer[1]
    return types
