"""Find operators, functions and formats whose operands they never take: a text that is compared with a date, say.

These raise an exception, and often after effects; and `*` repeats a text in silence. Equality is another matter: see
`comparisons`.
"""

import ast
import re
from collections.abc import Iterator

from codemode_sandboxes.source import Tree

from codemode_graph.check.clash import single_kind
from codemode_graph.check.syntax import exceptions_of
from codemode_graph.check.types import TypeFindings
from codemode_graph.state import Finding
from codemode_graph.tools.text import one_line

KIND_WORDS = {kind: f"a {kind}" for kind in ("number", "str", "list", "dict", "date", "datetime")}
"""The kinds of values in words for a model."""
_LONGEST = 60
_ORDERS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Pow: "**"}
_CAUGHT = frozenset({"BaseException", "Exception", "TypeError", "ValueError"})
# The formats that a text takes.
_OF_TEXTS = re.compile(r"(.?[<>^])?0?\d*(\.\d+)?s?", re.DOTALL)


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
        mixed = set(kinds) == {"str", "number"}
        match operator:
            case "-":
                wrong = "str" in kinds
            case "+" | "/" | "//" | "**":
                wrong = mixed or (operator != "+" and kinds == ("str", "str"))
            case "*":
                # A text of the program's own, as in `"-" * width`, is to be repeated.
                wrong = mixed and all(isinstance(each, ast.Subscript | ast.Call) for each in (one, other))
            case _:
                wrong = kinds[0] != kinds[1] and "any" not in kinds
        if not wrong or types.is_tested(one) or types.is_tested(other) or _is_caught(tree, node):
            continue
        text = one if kinds[0] == "str" else other
        written = one_line(ast.unparse(text), _LONGEST)
        if operator == "+":
            message = "a str and a number cannot be added: use an f-string, or str(...)"
        elif operator == "*":
            message = f"{written} is a str, and * repeats it; make a number of it by float({written})"
        elif "any" in kinds:
            message = f"{written} is a str, and {operator} takes none{conversion({'str', 'datetime'}, written)} first"
        else:
            about = [
                f"{one_line(ast.unparse(each), _LONGEST)} is {KIND_WORDS.get(kind, kind)}"
                for each, kind in zip((one, other), kinds, strict=True)
            ]
            message = f"{about[0]} and {about[1]}, and {operator} takes no two such{conversion(set(kinds), written)}"
        yield Finding(rule="wrong-type", message=one_line(message, 600), line=node.lineno)
    for node, value, message in (*_calls(tree, types), *_formats(tree, types)):
        if not (types.is_tested(value) or _is_caught(tree, node)):
            around = tree.parent(node)
            # Python 3.11 does not always know where in a text an expression stands.
            line = around.lineno if isinstance(around, ast.JoinedStr) else node.lineno
            yield Finding(rule="wrong-type", message=one_line(message, 600), line=line)


def _calls(tree: Tree, types: TypeFindings) -> Iterator[tuple[ast.expr, ast.expr, str]]:
    """Yield the calls that cannot take an argument, the argument, and what is wrong."""

    def kind_of_items(node: ast.expr) -> str:
        return single_kind(types.flow.items(types.shape(node)))

    for call in tree.of(ast.Call):
        match call:
            case ast.Call(func=ast.Name(id="sum"), args=[items], keywords=[]) if tree.are_builtin("sum"):
                if kind_of_items(items) == "str":
                    yield (
                        call,
                        items,
                        "sum adds numbers, and each of these is a str: make a number of each by float(...)",
                    )
            case ast.Call(func=ast.Attribute(attr="join", value=ast.Constant(value=str())), args=[items]):
                if (kind := kind_of_items(items)) in ("number", "list", "dict"):
                    yield (
                        call,
                        items,
                        f"join takes texts, and each of these is {KIND_WORDS[kind]}: write str(...) of each",
                    )
            case ast.Call(func=ast.Name(id="round" | "abs" as name), args=[number, *_]) if tree.are_builtin(name):
                if single_kind(types.shape(number)) == "str":
                    written = one_line(ast.unparse(number), _LONGEST)
                    yield call, number, f"{written} is a str, and {name} takes a number: write {name}(float({written}))"


def _formats(tree: Tree, types: TypeFindings) -> Iterator[tuple[ast.expr, ast.expr, str]]:
    """Yield the formats in f-strings that no text takes, the text that is given one, and what is wrong."""
    for part in tree.of(ast.FormattedValue):
        match part.format_spec:
            case ast.JoinedStr(values=[ast.Constant(value=str(form))]) if (
                part.conversion == -1
                and not _OF_TEXTS.fullmatch(form)
                and single_kind(types.shape(part.value)) == "str"
            ):
                written = one_line(ast.unparse(part.value), _LONGEST)
                parser = "datetime.fromisoformat" if re.search("%[A-Za-z]", form) else "float"
                yield part, part.value, f"{written} is a str, and has no format {form!r}: format {parser}({written})"


def _operations(tree: Tree) -> Iterator[tuple[ast.expr, str, ast.expr, ast.expr]]:
    for compare in tree.of(ast.Compare):
        for left, order, right in zip(
            (compare.left, *compare.comparators), compare.ops, compare.comparators, strict=False
        ):
            if type(order) in _ORDERS:
                yield left, _ORDERS[type(order)], right, compare
    for binary in tree.of(ast.BinOp):
        if type(binary.op) in _OPERATORS:
            yield binary.left, _OPERATORS[type(binary.op)], binary.right, binary


def _is_caught(tree: Tree, node: ast.expr) -> bool:
    tries = (each for each in tree.ancestors(node) if isinstance(each, ast.Try))
    return any(_CAUGHT & exceptions_of(handler) for each in tries for handler in each.handlers)
