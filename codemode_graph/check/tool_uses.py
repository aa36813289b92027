"""The places where a program refers to tools."""

import ast
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from codemode_sandboxes.source import Function, Tree
from codemode_sandboxes.tool_names import ToolNames

MAPPING_METHODS = frozenset({"get", "items", "keys", "values"})
"""Attributes of `tools` that are methods of the mapping, also where a tool has such a name."""


_PARTS = re.compile(r"[./:]|__")


def plain_name(name: str) -> str:
    """Return a name without case, dashes and underscores, in which models differ."""
    return re.sub(r"[\W_]", "", name).lower()


def same_tools(written: str, names: Iterable[str]) -> list[str]:
    """Return the tools that a name may mean: those of the name, else those of the name on any server.

    Args:
        written: As the program has it; `server.name` also where there is no such server.
        names: The tools.
    """
    names = list(names)
    whole = [name for name in names if plain_name(name) == plain_name(written)]
    last = plain_name(_PARTS.split(written)[-1])
    return whole or [name for name in names if last and plain_name(_PARTS.split(name)[-1]) == last]


class Reference(NamedTuple):
    """A place that names a tool.

    Attributes:
        node: The expression: `tools['x']`, `tools.x`, or a variable that holds one of them.
        written: The name in it, None where it is computed.
        tool: The tool that has this name, None where there is none.
    """

    node: ast.expr
    written: str | None
    tool: str | None


class References:
    """The places in one program that name tools.

    Args:
        tree: The program.
        tools: The names of the tools that there are. With `ToolNames` no time depends on their number.

    Attributes:
        names: The names of the tools.
    """

    def __init__(self, tree: Tree, tools: Iterable[str]) -> None:
        self._tree = tree
        self.names = tools if isinstance(tools, ToolNames) else ToolNames(tools)
        self._by_attribute = self.names.by_attribute

    def is_tools(self, node: ast.AST, depth: int = 0) -> bool:
        """Return whether an expression is the object `tools`: by its name, or a variable or parameter that holds it."""
        if not isinstance(node, ast.Name):
            return False
        scope = self._tree.owner(node)
        if scope is None:
            return node.id == "tools"
        # The depth bounds assignments in a circle, such as `a = b` and `b = a`.
        if depth > 8 or scope.kind == "class" or len(bindings := scope.bound[node.id]) != 1:
            return False
        binding = bindings[0]
        if isinstance(binding, ast.arg):
            values = self._arguments(scope.node, binding)
            return bool(values) and all(self.is_tools(value, depth + 1) for value in values)
        value = assigned(self._tree, binding)
        # `tools = tools` at the top level reads what the host provides.
        if isinstance(value, ast.Name) and value.id == node.id == "tools" and scope is self._tree.module:
            return True
        return value is not None and self.is_tools(value, depth + 1)

    def find(self, node: ast.AST, depth: int = 0) -> Reference | None:
        """Return the reference to a tool that an expression is, or None."""
        match node:
            case ast.Attribute(value=value, attr=attribute) if attribute not in MAPPING_METHODS and self.is_tools(
                value
            ):
                return Reference(node, attribute, self._by_attribute.get(attribute))
            case ast.Subscript(value=value, slice=index) if self.is_tools(value):
                return self._named(node, index)
            case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[index, *_]) if self.is_tools(value):
                return self._named(node, index)
            case ast.Name(ctx=ast.Load()) if depth < 8:
                assigned = self.assigned(node)
                found = None if assigned is None else self.find(assigned, depth + 1)
                return found and Reference(node, found.written, found.tool)
        return None

    def assigned(self, name: ast.Name) -> ast.expr | None:
        """Return the only expression that a variable is assigned; None where there are others, or none."""
        scope = self._tree.resolve(name.id, self._tree.scope(name))
        if scope is None or scope.kind == "class" or len(bindings := scope.bound[name.id]) != 1:
            return None
        return assigned(self._tree, bindings[0])

    def choices(self, node: ast.expr, depth: int = 0) -> list[ast.expr]:
        """Return the expressions that one may be: both of `a if x else b`, each item of a list that a loop goes over."""
        parts: list[ast.expr] = []
        match node:
            case ast.IfExp(body=body, orelse=orelse):
                parts = [body, orelse]
            case ast.BoolOp(values=values):
                parts = values
            case ast.NamedExpr(value=value):
                parts = [value]
            case ast.Name(ctx=ast.Load()):
                assigned = self.assigned(node)
                parts = self._items(node) if assigned is None else [assigned]
        if not parts or depth > 8:
            return [node]
        return [choice for part in parts for choice in self.choices(part, depth + 1)]

    def candidates(self, node: ast.expr) -> list["Reference"]:
        """Return the references to tools that an expression may be; none where it may be anything else."""
        found: list[Reference] = []
        for choice in self.choices(node):
            match choice:
                case ast.Subscript(value=value, slice=ast.Name() as index) if self.is_tools(value):
                    found += [self._named(choice, name) for name in self.choices(index)]
                case _ if (reference := self.find(choice)) is not None:
                    found.append(reference)
                case _:
                    return []
        return found

    def _items(self, name: ast.Name) -> list[ast.expr]:
        """Return the items of the list, written out, that a loop binds a variable to in turn."""
        scope = self._tree.resolve(name.id, self._tree.scope(name))
        if scope is None or len(bindings := scope.bound[name.id]) != 1:
            return []
        match self._tree.parent(bindings[0]):
            case ast.For(target=target, iter=source) | ast.comprehension(target=target, iter=source) if (
                target is bindings[0]
            ):
                source = (self.assigned(source) or source) if isinstance(source, ast.Name) else source
                if isinstance(source, ast.List | ast.Tuple | ast.Set):
                    return [] if any(isinstance(item, ast.Starred) for item in source.elts) else source.elts
        return []

    def chained(self, reference: Reference) -> tuple[ast.expr, str] | None:
        """Return the whole of `tools.server.name`, and its name, where there is no tool of the first name; else None."""
        if reference.tool is not None or reference.written is None:
            return None
        match self._tree.parent(reference.node):
            case ast.Attribute(value=value, attr=name) as whole if value is reference.node:
                return whole, f"{reference.written}.{name}"
            case ast.Subscript(value=value, slice=ast.Constant(value=str(name))) as whole if value is reference.node:
                return whole, f"{reference.written}.{name}"
        return None

    def named(self) -> set[str]:
        """Return every tool whose name or attribute stands in the program, whether or not it is referred to there."""
        found: set[str] = set()
        for node in self._tree.nodes:
            match node:
                case ast.Constant(value=str(word)) if word in self.names:
                    found.add(word)
                case ast.Attribute(attr=word) if word in self._by_attribute:
                    found.add(self._by_attribute[word])
        return found

    def direct(self) -> Iterator[Reference]:
        """Yield every `tools['x']` and `tools.x`."""
        for node in self._tree.nodes:
            if isinstance(node, ast.Attribute | ast.Subscript | ast.Call) and (found := self.find(node)):
                yield found

    def calls(self) -> Iterator[tuple[ast.Call, Reference]]:
        """Yield every call of a tool, with the reference."""
        for call in self._tree.of(ast.Call):
            if found := self.find(call.func):
                yield call, found

    def _named(self, node: ast.expr, index: ast.expr) -> Reference:
        match index:
            case ast.Constant(value=str(name)):
                return Reference(node, name, name if name in self.names else None)
        return Reference(node, None, None)

    def _arguments(self, function: ast.AST, parameter: ast.arg) -> list[ast.expr]:
        """Return what a function's calls pass for a parameter; nothing where that is not certain."""
        if not isinstance(function, Function) or self._tree.scope(function).kind == "class":
            return []
        positional = [*function.args.posonlyargs, *function.args.args]
        index = positional.index(parameter) if parameter in positional else None
        values: list[ast.expr] = []
        for use in self._tree.uses(function.name, self._tree.scope(function)):
            call = self._tree.parent(use)
            if not isinstance(call, ast.Call) or call.func is not use:
                return []
            named = [keyword.value for keyword in call.keywords if keyword.arg == parameter.arg]
            if index is not None and index < len(call.args):
                named.append(call.args[index])
            # A call that leaves the parameter to its default, or passes it by `**`, makes it uncertain.
            if len(named) != 1:
                return []
            values += named
        return values


def assigned(tree: Tree, binding: ast.AST) -> ast.expr | None:
    """Return the expression that a binding gives to a name as a whole; None for a part of one, and for other bindings."""
    match tree.parent(binding):
        case (
            ast.Assign(targets=[target], value=value)
            | ast.AnnAssign(target=target, value=ast.expr() as value)
            | ast.NamedExpr(target=target, value=value)
        ) if target is binding:
            return value
    return None


def returned(tree: Tree, function: Function) -> list[ast.expr]:
    """Return the expressions that a function returns."""
    inner = tree.opened(function)
    return [each.value for each in tree.of(ast.Return) if each.value is not None and tree.scope(each) is inner]
