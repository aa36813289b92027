"""What a type checker found, as far as it is certain, in words for a model.

A type checker that guesses wrong would refuse a good program, so only what follows from the tools' declared types, or
from what is plainly written, is told; the rest is not.
"""

import ast
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from codemode_sandboxes.contract import Diagnostic
from codemode_sandboxes.source import Scopes

from codemode_graph.check.arguments import listed
from codemode_graph.check.derived import is_from_tools
from codemode_graph.check.tool_uses import References
from codemode_graph.check.typenames import certainly_differ, plain_type
from codemode_graph.state import Finding
from codemode_graph.tools.annotations import Array, Record, Shape, Union
from codemode_graph.tools.signatures import Signatures
from codemode_graph.tools.text import one_line

__all__ = ["TypeChecker", "TypeFindings"]


class TypeChecker(Protocol):
    """Checks the types of a program without running it, as `MontySandbox` does."""

    async def type_check(self, code: str, stubs: str) -> list[Diagnostic]:
        """Check a program in script form against declarations of what it finds when it starts."""
        ...


_LONGEST = 5_000
_Part: TypeAlias = Literal["whole", "item", "part"]
_Rule = Callable[["TypeFindings", re.Match[str], ast.AST], tuple[str, str] | None]


class TypeFindings:
    """Makes findings of diagnostics about one program.

    Args:
        code: The program, in script form.
        scopes: Its scopes.
        references: Where it names tools.
        signatures: The tools.
    """

    def __init__(self, code: str, scopes: Scopes, references: References, signatures: Signatures) -> None:
        self._scopes, self._references, self._signatures = scopes, references, signatures
        self._records = {name: record for record, name in signatures.names.items()}
        self._returned_by = list(_returned_by(signatures))
        self._stored = set(_stored_keys(scopes.tree))
        lines = code.split("\n")
        self._nodes: dict[tuple[int, int], list[ast.AST]] = {}
        for node in ast.walk(scopes.tree):
            if isinstance(node, ast.expr | ast.keyword):
                column = len(lines[node.lineno - 1].encode()[: node.col_offset].decode(errors="replace")) + 1
                self._nodes.setdefault((node.lineno, column), []).append(node)

    def findings(self, diagnostics: Sequence[Diagnostic]) -> Iterator[Finding]:
        """Give the findings that certain diagnostics make."""
        for diagnostic in diagnostics:
            if len(diagnostic.message) > _LONGEST:
                continue
            nodes = self._nodes.get((diagnostic.line, diagnostic.column), [])
            for rule, pattern, translate in _RULES:
                found = re.fullmatch(pattern, diagnostic.message) if rule == diagnostic.rule else None
                told = next((t for node in nodes if found and (t := translate(self, found, node)) is not None), None)
                if told is not None:
                    yield Finding(rule=told[0], message=one_line(told[1], 600), line=diagnostic.line)
                    break

    def argument_type(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """A tool's argument of a type that it does not take."""
        expected, given = found["expected"], found["given"]
        call = self._scopes.parent(node)
        if not isinstance(call, ast.Call) or (reference := self._references.find(call.func)) is None:
            return None
        if reference.tool is None or not certainly_differ(given, expected, self._records):
            return None
        signature = next(each for each in self._signatures.tools if each.tool.name == reference.tool)
        if isinstance(node, ast.keyword) and node.arg in signature.parameters.by_name:
            parameter = signature.parameters.by_name[node.arg]
        elif node in call.args and call.args.index(node) < len(signature.parameters):
            if given.startswith("dict[") and len(call.args) == 1:
                return None  # it may stand for keyword arguments
            parameter = signature.parameters[call.args.index(node)]
        else:
            return None
        if given == "None" and not parameter.required:
            return None
        argument = parameter.keyword
        message = f"the argument {argument!r} of tools[{reference.tool!r}] is {plain_type(given)}"
        return "wrong-type", f"{message}, but must be {plain_type(expected)}"

    def unknown_key(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """A key that a result does not have."""
        record, key = self._records.get(found["type"]), found["key"]
        if record is None or record.extra is not None or key in self._stored:
            return None
        return "wrong-key", f"{self._what(found['type'])} has no key {key!r}{self._keys(record, key)}"

    def not_a_list(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """A dict indexed with a number."""
        record = self._records.get(found["type"])
        if record is None:
            return None
        return "wrong-key", f"{self._what(found['type'])} is a dict, not a list{self._keys(record, '')}"

    def not_a_dict(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """A list or a string indexed with a text."""
        kind = found["type"]
        if not isinstance(node, ast.Subscript):
            return None
        if (item := re.fullmatch(r"list\[(\w+)\]", kind)) and item[1] in self._records:
            return "wrong-key", f"this is a list of {item[1]}, not a dict: loop over it, or index it with a number"
        if kind in ("str", "int") and self._is_from_tools(node.value):
            more = " (a loop over a dict gives its keys)" if kind == "str" else ""
            return "wrong-key", f"this is {plain_type(kind)}, not a dict{more}: it has no key {found['key']!r}"
        return None

    def no_items(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """A number or a coroutine that is indexed."""
        if found["type"].startswith("CoroutineType["):
            return self._coroutine()
        if isinstance(node, ast.Subscript) and found["type"] in ("int", "bool") and self._is_from_tools(node.value):
            return "wrong-key", f"this is {plain_type(found['type'])}: it cannot be indexed"
        return None

    def no_attribute(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """An attribute of a dict, a list or a number."""
        kind, name = found["type"], found["name"]
        if kind.startswith("CoroutineType["):
            return self._coroutine()
        if not isinstance(node, ast.Attribute) or node.attr != name:
            return None
        if (record := self._records.get(kind)) is not None:
            if name in record.fields:
                return "wrong-key", f"{self._what(kind)} is a dict: write [{name!r}], not .{name}"
            return "wrong-key", f"{self._what(kind)} is a dict without {name!r}{self._keys(record, name)}"
        if (item := re.fullmatch(r"list\[(\w+)\]", kind)) and item[1] in self._records:
            return (
                "wrong-key",
                f"this is a list of {item[1]}: it has no {name!r}; loop over it, or index it with a number",
            )
        if kind in ("str", "int", "bool") and self._is_from_tools(node.value) and not hasattr(_TYPES[kind], name):
            return "wrong-key", f"this is {plain_type(kind)}: it has no {name!r}"
        return None

    def not_iterable(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """A loop over a number or a coroutine."""
        if found["type"].startswith("CoroutineType["):
            return self._coroutine()
        if found["type"] in ("int", "bool") and self._is_from_tools(node):
            return "wrong-type", f"this is {plain_type(found['type'])}: one cannot loop over it"
        return None

    def not_awaitable(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """An `await` of what was awaited already."""
        if self._is_from_tools(node):
            return "wrong-type", "this is a tool's value already, not a call: take away the await"
        return None

    def operands(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """A text and a number added, or a coroutine in a computation."""
        left, right = found["left"], found["right"]
        if left.startswith("CoroutineType[") or right.startswith("CoroutineType["):
            return self._coroutine()
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add):
            return None
        kinds = {_scalar(left), _scalar(right)}
        known = all(
            isinstance(n, ast.Constant | ast.JoinedStr) or self._is_from_tools(n) for n in (node.left, node.right)
        )
        if kinds in ({"str", "int"}, {"str", "float"}) and known:
            return "wrong-type", "a str and a number cannot be added: use an f-string, or str(...)"
        return None

    def own_call(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """A call of one of the program's functions with wrong arguments."""
        call = node if isinstance(node, ast.Call) else self._scopes.parent(node)
        if not isinstance(call, ast.Call) or (function := self._scopes.function(call.func)) is None:
            return None
        if function.name != found["function"]:
            return None
        if "missing" in found.groupdict():
            return "missing-argument", f"{function.name}() lacks the argument {found['missing']!r}"
        return "unknown-argument", f"{function.name}() has no argument {found['unknown']!r}"

    def used_too_early(self, found: re.Match[str], node: ast.AST) -> tuple[str, str] | None:
        """A variable that is set later, or never on this path."""
        name = found["name"]
        if not isinstance(node, ast.Name) or self._scopes.resolve(name, self._scopes.scope(node)) is None:
            return None
        return "undefined-name", f"{name} is not defined yet when it is used here"

    def _coroutine(self) -> tuple[str, str]:
        return "unawaited-call", "this is a call that was not awaited: write await before it"

    def _is_from_tools(self, node: ast.AST) -> bool:
        return is_from_tools(node, self._scopes, self._references)

    def _what(self, name: str) -> str:
        called = {reference.tool for reference in self._references.direct()}
        places = [(tool, part) for each, tool, part in self._returned_by if each == name and tool in called]
        if not places:
            return name
        tool, part = places[0]
        if len(places) > 1 or part == "part":
            tools = " and ".join(f"tools[{tool!r}]" for tool, _ in places)
            return f"{name}, in what {tools} {'returns' if len(places) == 1 else 'return'},"
        return f"{'each item of ' if part == 'item' else ''}what tools[{tool!r}] returns"

    @staticmethod
    def _keys(record: Record, key: str) -> str:
        close = difflib.get_close_matches(key, record.fields, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f": its keys are {listed(map(repr, record.fields))}{hint}"


_TYPES: Mapping[str, type] = {"str": str, "int": float, "bool": bool}

_TYPE = r"`(?P<type>.+)`"
_RULES: tuple[tuple[str, str, _Rule], ...] = (
    (
        "invalid-argument-type",
        r"Argument to bound method `tool_\w+\.__call__` is incorrect: Expected `(?P<expected>.+)`, found `(?P<given>.+)`",
        TypeFindings.argument_type,
    ),
    (
        "invalid-argument-type",
        r"Method `__getitem__` of type .* cannot be called with key of type `Literal\[\"(?P<key>.*)\"\]` on object of type "
        + _TYPE,
        TypeFindings.not_a_dict,
    ),
    ("invalid-key", r"Unknown key \"(?P<key>.*)\" for TypedDict `(?P<type>\w+)`.*", TypeFindings.unknown_key),
    (
        "invalid-key",
        r"TypedDict `(?P<type>\w+)` can only be subscripted with a string literal key, got key of type `Literal\[-?\d+\]`.*",
        TypeFindings.not_a_list,
    ),
    (
        "not-subscriptable",
        rf"Cannot subscript object of type {_TYPE} with no `__getitem__` method",
        TypeFindings.no_items,
    ),
    ("unresolved-attribute", rf"Object of type {_TYPE} has no attribute `(?P<name>\w+)`", TypeFindings.no_attribute),
    ("not-iterable", rf"Object of type {_TYPE} is not iterable.*", TypeFindings.not_iterable),
    ("invalid-await", rf"{_TYPE} is not awaitable.*", TypeFindings.not_awaitable),
    (
        "unsupported-operator",
        r"Operator `.+` is not supported between objects of type `(?P<left>.+)` and `(?P<right>.+)`",
        TypeFindings.operands,
    ),
    (
        "missing-argument",
        r"No argument provided for required parameter `(?P<missing>\w+)` of function `(?P<function>\w+)`",
        TypeFindings.own_call,
    ),
    (
        "unknown-argument",
        r"Argument `(?P<unknown>\w+)` does not match any known parameter of function `(?P<function>\w+)`",
        TypeFindings.own_call,
    ),
    ("unresolved-reference", r"Name `(?P<name>\w+)` used when not defined", TypeFindings.used_too_early),
)


def _scalar(kind: str) -> str:
    if kind.startswith('Literal["') or kind == "LiteralString":
        return "str"
    return "int" if re.fullmatch(r"Literal\[-?\d+\]", kind) else kind


def _returned_by(signatures: Signatures) -> Iterator[tuple[str, str, _Part]]:
    """Each type that a tool returns, the tool, and what part of its value that is."""
    for signature in signatures.tools:
        todo: list[tuple[Shape, _Part]] = [(signature.result, "whole")] if signature.result is not None else []
        seen: set[Record] = set()
        for shape, part in todo:
            match shape:
                case Record() if shape not in seen:
                    seen.add(shape)
                    yield signatures.names[shape], signature.tool.name, part
                    todo += [(each.shape, "part") for each in shape.fields.values()]
                case Array(item):
                    todo.append((item, "item" if part == "whole" else "part"))
                case Union(members):
                    todo += [(member, part) for member in members]


def _stored_keys(tree: ast.AST) -> Iterator[str]:
    """Keys that the program itself puts into dicts, or asks for."""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(slice=ast.Constant(value=str(key)), ctx=ast.Store()):
                yield key
            case ast.Compare(left=ast.Constant(value=str(key)), ops=[ast.In() | ast.NotIn(), *_]):
                yield key
            case ast.Call(func=ast.Attribute(attr="setdefault"), args=[ast.Constant(value=str(key)), *_]):
                yield key
            case ast.Call(func=ast.Attribute(attr="update"), args=arguments, keywords=keywords):
                yield from (keyword.arg for keyword in keywords if keyword.arg)
                for argument in arguments:
                    keys = argument.keys if isinstance(argument, ast.Dict) else []
                    yield from (k.value for k in keys if isinstance(k, ast.Constant) and isinstance(k.value, str))
