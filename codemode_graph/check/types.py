"""Findings from a type checker's diagnostics, in words for a model.

A wrong guess would refuse a good program. So a diagnostic makes a finding only where it follows from the tools' declared
types, or from what is plainly written.
"""

import ast
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, Protocol, TypeAlias

from codemode_sandboxes.contract import Diagnostic
from codemode_sandboxes.source import Tree

from codemode_graph.check.clash import certainly_differ, kind_of, kinds_of, plain_type, single_kind
from codemode_graph.check.flow import Flow
from codemode_graph.check.stored_keys import StoredKeys
from codemode_graph.check.tool_uses import References
from codemode_graph.state import Finding
from codemode_graph.tools.annotations import UNKNOWN, Array, Record, Shape, Union, Unknown
from codemode_graph.tools.results import BESIDE
from codemode_graph.tools.signatures import Signatures
from codemode_graph.tools.text import listed, one_line


class TypeChecker(Protocol):
    """A type checker that does not run programs; `MontySandbox` is one."""

    async def type_check(self, code: str, stubs: str) -> list[Diagnostic]:
        """Check a program in script form against declarations of what it finds when it starts."""
        ...


# Characters of a diagnostic that is read.
_LONGEST = 5_000
# Tools that are named as those that have a key: where many have it, none of them is a hint.
_MOST_PLACES = 3
_TESTS = frozenset({"isinstance", "hasattr", "getattr", "type", "callable"})
_Part: TypeAlias = Literal["whole", "item", "part"]
_Report = Callable[["TypeFindings", re.Match[str], ast.AST], str | None]
_TYPE = r"`(?P<type>.+)`"
_FUNCTION = r"`(?P<name>\w+)` .*of function `(?P<function>\w+)`"
_RULES: list[tuple[str, str, str, _Report]] = []


def _reports(rule: str, message: str, finding: str) -> Callable[[_Report], _Report]:
    """Mark what makes findings of the diagnostics of a rule whose message matches.

    The messages are the checker's own words. One that a later version words anew matches nothing, and makes no finding.
    """

    def mark(report: _Report) -> _Report:
        _RULES.append((rule, message, finding, report))
        return report

    return mark


class TypeFindings:
    """The findings that diagnostics about one program make.

    Args:
        code: The program, in script form.
        tree: Its index.
        references: The places where it names tools.
        signatures: The tools.
    """

    def __init__(self, code: str, tree: Tree, references: References, signatures: Signatures) -> None:
        self._code, self._tree, self._references, self._signatures = code, tree, references, signatures
        self.flow = Flow(tree, references, signatures)
        self._stored = StoredKeys(tree)
        self._computed: set[str] = set()

    # Most programs have no diagnostic, and tools have thousands of types.
    @cached_property
    def _nodes(self) -> dict[tuple[int, int], list[ast.AST]]:
        """The nodes by line and column, as a type checker counts them: in characters, where the tree counts bytes."""
        lines = self._code.split("\n")
        found: dict[tuple[int, int], list[ast.AST]] = {}
        for node in self._tree.nodes:
            # Diagnostics point at expressions and keyword arguments, by line and column. In `(await f())["k"]` the place of
            # the whole is that of the bracket, and a type checker names that of what stands in it.
            first = getattr(node, "value", None) if isinstance(node, ast.Subscript | ast.Attribute) else None
            first = node.left if isinstance(node, ast.BinOp) else first
            places = dict.fromkeys(
                (each.lineno, each.col_offset) for each in (node, first) if isinstance(each, ast.expr | ast.keyword)
            )
            for line, offset in places:
                column = len(lines[line - 1].encode()[:offset].decode(errors="replace")) + 1
                found.setdefault((line, column), []).append(node)
        return found

    @property
    def records(self) -> Mapping[str, Record]:
        """The types of the tools by their names."""
        return self._signatures.records

    @cached_property
    def _returned_by(self) -> list[tuple[str, str, _Part]]:
        return list(_returned_by(self._signatures))

    def findings(
        self, diagnostics: Sequence[Diagnostic]
    ) -> Iterator[tuple[Finding, tuple[ast.Subscript | ast.Attribute, ...]]]:
        """Yield the findings of the diagnostics, each with the lookups that it may be about."""
        diagnostics = [each for each in diagnostics if len(each.message) <= _LONGEST]  # or patterns with `.+` are slow
        self._computed |= set(self._computed_keys(diagnostics))
        for diagnostic in diagnostics:
            nodes = self._nodes.get((diagnostic.line, diagnostic.column), [])
            for rule, pattern, finding, report in _RULES:
                found = re.fullmatch(pattern, diagnostic.message) if rule == diagnostic.rule else None
                if found is None:
                    continue
                words = next((w for node in nodes if (w := report(self, found, node)) is not None), None)
                if words is not None:
                    lookups: tuple[ast.Subscript | ast.Attribute, ...] = ()
                    if report is TypeFindings.no_attribute:
                        lookups = tuple(n for n in nodes if isinstance(n, ast.Attribute) and n.attr == found["name"])
                    elif report in _LOOKUPS:
                        lookups = self._subscripts(nodes)
                    yield Finding(rule=finding, message=one_line(words, 600), line=diagnostic.line), lookups
                    break

    def _computed_keys(self, diagnostics: Iterable[Diagnostic]) -> Iterator[str]:
        """Yield the keys that the program stores by a variable; of one that is computed, the type that it is stored in."""
        for each in diagnostics:
            subscripts = self._subscripts(self._nodes.get((each.line, each.column), []))
            if each.rule == "invalid-key" and any(isinstance(node.ctx, ast.Store) for node in subscripts):
                found = re.match(r"Unknown key \"(.*)\" for|TypedDict `(\w+)`", each.message)
                yield "" if found is None else found[1] or found[2]

    def _subscripts(self, nodes: Sequence[ast.AST]) -> tuple[ast.Subscript, ...]:
        """Return those that begin at a place, and those whose key does."""
        parents = [parent for node in nodes if getattr(parent := self._tree.parent(node), "slice", None) is node]
        return tuple(each for each in (*nodes, *parents) if isinstance(each, ast.Subscript))

    def shape(self, node: ast.expr) -> Shape:
        """Return what the value of an expression may be; unknown where that is not certain."""
        return UNKNOWN if self.flow.puts.store_anywhere else self.flow.of(node)

    def is_certain(self, node: ast.AST, type: str = "") -> bool:
        """Return whether a value can only be of its type.

        A type checker knows what a list or dict held at first, not what the program put into it since.

        Args:
            node: The expression.
            type: As the type checker writes it; any, where there is none.
        """
        shape = self.shape(node) if isinstance(node, ast.expr) else UNKNOWN
        return single_kind(shape) == kind_of(type) if type else not isinstance(shape, Unknown)

    def is_tested(self, node: ast.expr | None) -> bool:
        """Return whether the program asks for the kind of a value, by `isinstance`, `hasattr` or `type`."""
        return node is not None and ast.dump(node) in self._tested

    @cached_property
    def _tested(self) -> set[str]:
        calls = (each for each in self._tree.of(ast.Call) if each.args and isinstance(each.func, ast.Name))
        return {ast.dump(each.args[0]) for each in calls if ast.unparse(each.func) in _TESTS}

    def never_found(self, record: Record, key: str) -> str | None:
        """Report a key that `get` looks up in a dict that does not have it.

        A server of MCP declares what it returns for people, and may return more.
        """
        name = self._signatures.names.get(record, "")
        sources = {self._signatures.by_name[tool].tool.source for each, tool, _ in self._returned_by if each == name}
        if name in self._computed or any(source.startswith("mcp:") for source in sources):
            return None
        return f"{self._what(name)} has no key {key!r}, so get returns its default{self._lacks(record, key)}"

    def without_key(self, record: Record, key: str) -> str | None:
        """Report a key that a subscript looks up in a dict that does not have it."""
        name = self._signatures.names.get(record, "")
        return None if name in self._computed else f"{self._what(name)} has no key {key!r}{self._lacks(record, key)}"

    def without_attribute(self, record: Record, name: str) -> str:
        """Report an attribute of a dict."""
        what = self._what(self._signatures.names.get(record, ""))
        if name in record.fields:
            return f"{what} is a dict: write [{name!r}], not .{name}"
        return f"{what} is a dict without {name!r}{self._lacks(record, name)}"

    def never_has(self, record: Record, name: str) -> str | None:
        """Report a test for an attribute of a dict that has a key of the name."""
        if name not in record.fields:
            return None
        what = self._what(self._signatures.names.get(record, ""))
        return f"{what} is a dict, so it has no attribute {name!r}: write [{name!r}], or {name!r} in ... to ask for it"

    def no_dict(self, shape: Shape, key: str) -> str | None:
        """Report a list, a text or a number in which a key is looked up."""
        kinds = kinds_of(shape)
        kind = kinds.pop() if len(kinds) == 1 and not self._stands_beside(key) else ""
        if kind == "list":
            name = (
                self._signatures.names.get(shape.item)
                if isinstance(shape, Array) and isinstance(shape.item, Record)
                else None
            )
            if name is None:
                return "this is a list of values, not a dict: index it with a number, or unpack it"
            return f"this is a list of {name}, not a dict: loop over it, or index it with a number"
        if kind in ("str", "number", "bool"):
            more = " (a loop over a dict gives its keys)" if kind == "str" else ""
            what = plain_type("int" if kind == "number" else kind)
            return f"this is {what}, not a dict{more}: it has no key {key!r}{self._elsewhere(key)}"
        return None

    def may_be_stored(self, key: str) -> bool:
        """Return whether the program puts a key into a dict itself, or a server may."""
        return self._stored.may_have(key) or key in self._computed or self._stands_beside(key)

    @_reports("not-subscriptable", r"Cannot subscript object of type `CoroutineType\[.*", "unawaited-call")
    @_reports("unresolved-attribute", r"Object of type `CoroutineType\[.* has no attribute .*", "unawaited-call")
    @_reports("not-iterable", r"Object of type `CoroutineType\[.* is not iterable.*", "unawaited-call")
    @_reports("unsupported-operator", r"Operator .* between objects of type .*`CoroutineType\[.*", "unawaited-call")
    def coroutine(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report a call of an `async def` function that is used as its value."""
        return "this is a call that was not awaited: write await before it"

    @_reports(
        "invalid-argument-type",
        r"Argument to bound method `tool_\w+\.__call__` is incorrect: Expected `(?P<expected>.+)`, found `(?P<actual>.+)`",
        "wrong-type",
    )
    def argument_type(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report a tool's argument of a type that it does not take."""
        expected, actual = found["expected"], found["actual"]
        call = self._tree.parent(node)
        if not isinstance(call, ast.Call) or (reference := self._references.find(call.func)) is None:
            return None
        # A text takes the data of an artifact, whose handle is a dict; see `tools.artifacts.with_data`.
        passed = re.sub(r"\w+", lambda word: "str" if self._is_handle(word[0]) else word[0], actual)
        if reference.tool is None or not certainly_differ(passed, expected, self.records):
            return None
        signature = next(each for each in self._signatures.tools if each.tool.name == reference.tool)
        if isinstance(node, ast.keyword) and node.arg in signature.parameters.by_name:
            parameter = signature.parameters.by_name[node.arg]
        elif node in call.args:
            places = signature.parameters.positional(len(call.args))[: call.args.index(node) + 1]
            if len(places) <= call.args.index(node):
                return None
            if actual.startswith("dict[") and len(call.args) == 1:
                return None  # a single dict may stand for the keyword arguments
            parameter = places[-1]
        else:
            return None
        if actual == "None" and not parameter.required:
            return None  # for an optional argument None stands for its absence
        argument = parameter.keyword
        message = f"the argument {argument!r} of tools[{reference.tool!r}] is {plain_type(actual)}"
        advice = ""
        if parameter.variadic and actual.startswith("list"):
            advice = ": pass each value by itself, as in f(*values)"
        elif actual.startswith("list["):
            one = f"tools[{reference.tool!r}]({argument}=each{', ...' if len(call.args) + len(call.keywords) > 1 else ''})"
            advice = f": call it for each item, as in `await asyncio.gather(*[{one} for each in items])`"
        elif actual in self.records:
            advice = f"; pass a part of it{self._keys(self.records[actual], argument)}"
        return f"{message}, but must be {plain_type(expected)}{advice}"

    def _is_handle(self, name: str) -> bool:
        return name in self.records and "codemode_artifact" in self.records[name].fields

    @_reports("invalid-key", r"Unknown key \"(?P<key>.*)\" for TypedDict `(?P<type>\w+)`.*", "wrong-key")
    def unknown_key(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report a key that a result does not have."""
        record, key = self.records.get(found["type"]), found["key"]
        # A program that stores a key may read it from any dict, as far as the checker knows.
        if record is None or record.others is not None or found["type"] in self._computed or self.may_be_stored(key):
            return None
        match self._tree.parent(node):
            case ast.Dict():
                return None  # a dict that is put among results, and may have more keys
            case ast.Call(func=ast.Attribute(attr="pop"), args=[_, _]) as call if isinstance(
                self._tree.parent(call), ast.Expr
            ):
                return None  # it makes sure that the key is not there
        return self.without_key(record, key)

    def _stands_beside(self, key: str) -> bool:
        """Return whether an MCP answer may have a key that its tool does not declare: see `mcp.content.value_of`."""
        written = {each.value for each in self._tree.of(ast.Constant) if each.value in BESIDE}
        if key not in BESIDE and not (key == "result" and written):
            return False
        return any(self._signatures.by_name[each].tool.source.startswith("mcp:") for each in self._called)

    @_reports(
        "invalid-key", r"TypedDict `(?P<type>\w+)` can only be .*, got key of type `Literal\[-?\d+\]`.*", "wrong-key"
    )
    def not_a_list(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report a dict that is indexed with a number."""
        record = self.records.get(found["type"])
        if record is None:
            return None
        return f"{self._what(found['type'])} is a dict, not a list{self._keys(record, '')}"

    @_reports(
        "invalid-argument-type",
        r"Method `__getitem__` of type .* cannot be called with key of type `Literal\[\"(?P<key>.*)\"\]` on object of type "
        + _TYPE,
        "wrong-key",
    )
    def not_a_dict(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report a list or a string that is indexed with a text."""
        kind = found["type"]
        if self._stands_beside(found["key"]):
            return None
        if not isinstance(node, ast.Subscript):
            return None
        if (item := re.fullmatch(r"list\[(\w+)\]", kind)) and item[1] in self.records:
            return f"this is a list of {item[1]}, not a dict: loop over it, or index it with a number"
        if kind.startswith("tuple[") and self.is_certain(node.value, kind):
            return "this is a list of values, not a dict: index it with a number, or unpack it"
        # Other variables may hold something else by now; what a tool returned is certain.
        if kind in ("str", "int") and self.is_certain(node.value, kind):
            more = " (a loop over a dict gives its keys)" if kind == "str" else ""
            lacks = f"it has no key {found['key']!r}{self._elsewhere(found['key'])}"
            return f"this is {plain_type(kind)}, not a dict{more}: {lacks}"
        return None

    @_reports(
        "not-subscriptable", rf"Cannot subscript object of type {_TYPE} with no `__getitem__` method", "wrong-key"
    )
    def no_items(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report a number that is indexed."""
        if (
            isinstance(node, ast.Subscript)
            and found["type"] in ("int", "bool")
            and self.is_certain(node.value, found["type"])
        ):
            return f"this is {plain_type(found['type'])}: it cannot be indexed"
        return None

    @_reports("unresolved-attribute", rf"Object of type {_TYPE} has no attribute `(?P<name>\w+)`", "wrong-key")
    def no_attribute(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report an attribute of a dict, a list or a number."""
        kind, name = found["type"], found["name"]
        if not isinstance(node, ast.Attribute) or node.attr != name:
            return None
        if (record := self.records.get(kind)) is not None:
            return self.without_attribute(record, name)
        if (item := re.fullmatch(r"list\[(\w+)\]", kind)) and item[1] in self.records:
            return f"this is a list of {item[1]}: it has no {name!r}; loop over it, or index it with a number"
        if re.fullmatch(r"Literal\[.*\]|list\[.*\]|tuple\[.*\]", kind):
            known = kind_of(kind) or ""
            kind = "int" if known == "number" else known
        if kind in _TYPES and self.is_certain(node.value, found["type"]) and not hasattr(_TYPES[kind], name):
            return f"this is {plain_type(kind)}: it has no {name!r}"
        return None

    @_reports(
        "invalid-argument-type",
        r"Argument to function `len` is incorrect: Expected `Sized`, found `(?P<type>int|float|bool)`",
        "wrong-type",
    )
    def length(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report the length of a number."""
        if self.is_certain(node, found["type"]):
            return f"this is {plain_type(found['type'])}: it has no length"
        return None

    @_reports("not-iterable", rf"Object of type {_TYPE} is not iterable.*", "wrong-type")
    def not_iterable(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report a loop over a number."""
        if found["type"] in ("int", "bool") and self.is_certain(node, found["type"]):
            return f"this is {plain_type(found['type'])}: one cannot loop over it"
        return None

    @_reports("invalid-await", rf"{_TYPE} is not awaitable.*", "wrong-type")
    def not_awaitable(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report an `await` of a value that was awaited already."""
        if self.is_certain(node):
            return "this is a tool's value already, not a call: take away the await"
        return None

    @_reports("missing-argument", rf"No argument provided for required parameter {_FUNCTION}", "missing-argument")
    @_reports("unknown-argument", rf"Argument {_FUNCTION}", "unknown-argument")
    def own_call(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report a call of one of the program's functions with wrong arguments."""
        call = node if isinstance(node, ast.Call) else self._tree.parent(node)
        if not isinstance(call, ast.Call) or (function := self._tree.function(call.func)) is None:
            return None
        if function.name != found["function"]:
            return None
        lacks = "lacks the" if found[0].startswith("No argument") else "has no"
        return f"{function.name}() {lacks} argument {found['name']!r}"

    @_reports("unresolved-reference", r"Name `(?P<name>\w+)` used when not defined", "undefined-name")
    def used_too_early(self, found: re.Match[str], node: ast.AST) -> str | None:
        """Report a variable that is set later, or never on this path."""
        name = found["name"]
        if not isinstance(node, ast.Name) or self._tree.owner(node) is None:
            return None
        return f"{name} is not defined yet when it is used here"

    @cached_property
    def _called(self) -> set[str]:
        """The tools that the program names."""
        return {reference.tool for reference in self._references.direct() if reference.tool is not None}

    def _what(self, name: str) -> str:
        if not name:
            return "this dict"
        places = [(tool, part) for each, tool, part in self._returned_by if each == name and tool in self._called]
        if not places:
            return name
        tool, part = places[0]
        if len(places) > 1 or part == "part":
            tools = " and ".join(f"tools[{tool!r}]" for tool, _ in places)
            return f"{name}, in what {tools} {'returns' if len(places) == 1 else 'return'},"
        return f"{'each item of ' if part == 'item' else ''}what tools[{tool!r}] returns"

    def _elsewhere(self, key: str, record: Record | None = None) -> str:
        """Return which tools return a key that a record lacks: those that take a field of the record, if there are any."""
        tools = {
            tool: [each.keyword for each in self._signatures.by_name[tool].parameters.by_name.values() if each.required]
            for name, tool, _ in self._returned_by
            if self.records[name] is not record and key in self.records[name].fields
        }
        fields = {} if record is None else record.fields
        found = [tool for tool, needed in tools.items() if not fields.keys().isdisjoint(needed)]
        found = found or list(tools)
        if not 0 < len(found) <= _MOST_PLACES:
            return ""
        calls = [f"tools[{tool!r}]({', '.join(f'{name}=...' for name in tools[tool])})" for tool in found]
        return f"; {key!r} is in what {' or '.join(calls)} returns"

    def _lacks(self, record: Record, key: str) -> str:
        return self._keys(record, key) + self._elsewhere(key, record)

    @staticmethod
    def _keys(record: Record, key: str) -> str:
        close = difflib.get_close_matches(key, record.fields, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f": its keys are {listed(map(repr, record.fields))}{hint}"


_LOOKUPS = (TypeFindings.unknown_key, TypeFindings.not_a_list, TypeFindings.not_a_dict, TypeFindings.no_items)
_TYPES: Mapping[str, type] = {"str": str, "int": float, "bool": bool, "list": list}


def _returned_by(signatures: Signatures) -> Iterator[tuple[str, str, _Part]]:
    """Yield each type that a tool returns, the tool, and which part of its value has the type."""
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
