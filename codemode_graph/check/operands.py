"""Find operators whose operands are of kinds that they never take together: a text that is compared with a date, say.

These raise an exception, and often after effects. Equality is another matter: see `comparisons`.
"""

import ast
from collections.abc import Iterator

from codemode_sandboxes.source import Tree

from codemode_graph.check.clash import single_kind
from codemode_graph.check.types import TypeFindings
from codemode_graph.state import Finding
from codemode_graph.tools.text import one_line

KIND_WORDS = {kind: f"a {kind}" for kind in ("number", "str", "list", "dict", "date", "datetime")}
"""The kinds of values in words for a model."""
_LONGEST = 60
_ORDERS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_CAUGHT = frozenset({"BaseException", "Exception", "TypeError"})


def conversion(kinds: set[str], text: str) -> str:
    """Return advice on how to make two kinds equal, to go behind what is wrong with them; nothing where there is none."""
    match sorted(kinds):
        case ["date" | "datetime" as kind, "str"]:
            end = ".date()" if kind == "date" else ""
            return f"; make a {kind} of the text by datetime.fromisoformat({text}){end}"
        case ["number", "str"]:
            return f"; make a number of the text by float({text}), or a text of the number by str(...)"
        case ["date", "datetime"]:
            return "; make a date of the datetime by .date()"
    return ""


def find_wrong_operands(tree: Tree, types: TypeFindings) -> Iterator[Finding]:
    """Yield a finding for each operator that cannot take its operands.

    Args:
        tree: The program's index.
        types: What its values may be.
    """
    for one, operator, other, node in _operations(tree):
        first = single_kind(types.shape(one))
        if first == "any" and operator != "-":
            continue
        kinds = first, single_kind(types.shape(other))
        match operator:
            case "-":
                wrong = "str" in kinds
            case "+":
                wrong = set(kinds) == {"str", "number"}
            case _:
                wrong = kinds[0] != kinds[1] and "any" not in kinds
        if not wrong or types.is_tested(one) or types.is_tested(other) or _is_caught(tree, node):
            continue
        text = one if kinds[0] == "str" else other
        written = one_line(ast.unparse(text), _LONGEST)
        if operator == "+":
            message = "a str and a number cannot be added: use an f-string, or str(...)"
        elif "any" in kinds:
            message = f"{written} is a str, and {operator} takes none{conversion({'str', 'datetime'}, written)} first"
        else:
            about = [
                f"{one_line(ast.unparse(each), _LONGEST)} is {KIND_WORDS.get(kind, kind)}"
                for each, kind in zip((one, other), kinds, strict=True)
            ]
            message = f"{about[0]} and {about[1]}, and {operator} takes no two such{conversion(set(kinds), written)}"
        yield Finding(rule="wrong-type", message=one_line(message, 600), line=node.lineno)
    for call in tree.of(ast.Call):
        match call:
            case ast.Call(func=ast.Name(id="sum"), args=[summed], keywords=[]) if tree.are_builtin("sum"):
                if single_kind(types.flow.items(types.shape(summed))) == "str" and not _is_caught(tree, call):
                    message = "sum adds numbers, and each of these is a str: make a number of each by float(...)"
                    yield Finding(rule="wrong-type", message=message, line=call.lineno)


def _operations(tree: Tree) -> Iterator[tuple[ast.expr, str, ast.expr, ast.expr]]:
    for compare in tree.of(ast.Compare):
        for left, order, right in zip(
            (compare.left, *compare.comparators), compare.ops, compare.comparators, strict=False
        ):
            if type(order) in _ORDERS:
                yield left, _ORDERS[type(order)], right, compare
    for binary in tree.of(ast.BinOp):
        if isinstance(binary.op, ast.Sub | ast.Add):
            yield binary.left, "-" if isinstance(binary.op, ast.Sub) else "+", binary.right, binary


def _is_caught(tree: Tree, node: ast.expr) -> bool:
    tries = [each for each in tree.ancestors(node) if isinstance(each, ast.Try)]
    kinds = [handler.type for each in tries for handler in each.handlers]
    return any(
        kind is None or _CAUGHT & {each.id for each in ast.walk(kind) if isinstance(each, ast.Name)} for kind in kinds
    )
