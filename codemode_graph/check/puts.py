"""The places where a program puts values into lists, sets and dicts that exist already."""

import ast
from collections.abc import Iterator
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from codemode_sandboxes.source import Scope, Tree

from codemode_graph.check.call_shapes import Shapes
from codemode_graph.check.tool_uses import References
from codemode_graph.check.value_shapes import (
    NOTHING,
    each_of,
    items,
    join,
    lookup,
    members,
    merge,
    put_item,
    put_key,
    values,
)
from codemode_graph.tools.annotations import UNKNOWN, Array, Literals, Map, Record, Shape, Unknown
from codemode_graph.tools.text import vocabulary

_Way: TypeAlias = Literal["item", "items", "merge", "key", "any"]

_ITEM = frozenset({"append", "add", "appendleft"})
_ITEMS = frozenset({"extend", "extendleft", "update"})
_PUTTING = _ITEM | _ITEMS | {"insert", "setdefault"}
_PUSHES = ("heapq.heappush", "heapq.heappushpop", "heapq.heapreplace", "bisect.insort", "bisect.insort_left")
_FRESH_CALLS = vocabulary("list dict set sorted tuple")
_FRESH_CLASSES = vocabulary("defaultdict deque Counter OrderedDict")
_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.Tuple, ast.ListComp, ast.DictComp, ast.SetComp, ast.Constant, ast.BinOp)


class Put(NamedTuple):
    """A value that a program puts into a container.

    Attributes:
        receiver: The container.
        way: What becomes of the value: an "item", the "items", the value of a "key", or what is there by `update`, a "merge";
            "any" where that is not known.
        value: The value, or the place of the text where a part of a value is bound; None where it is not known.
        key: The expression of the key.
    """

    receiver: ast.expr
    way: _Way
    value: ast.expr | None = None
    key: ast.expr | None = None


class Puts:
    """What a program puts into containers that exist already.

    Args:
        shapes: Tells the shapes of the program's expressions.
        references: The places where it names tools.
    """

    def __init__(self, shapes: Shapes, references: References) -> None:
        self._shapes, self._references = shapes, references

    @cached_property
    def _sorted(self) -> tuple[dict[tuple[str, Scope], list[Put]], list[Put]]:
        """The puts into variables whose containers nothing else makes, and all others, whose containers may be any."""
        by_name: dict[tuple[str, Scope], list[Put]] = {}
        others = []
        for put in _find_puts(self._shapes.tree):
            name = put.receiver
            scope = self._shapes.tree.owner(name) if isinstance(name, ast.Name) else None
            if isinstance(name, ast.Name) and scope is not None and self._is_own(name.id, scope):
                by_name.setdefault((name.id, scope), []).append(put)
            else:
                others.append(put)
        return by_name, others

    @property
    def anywhere(self) -> list[Put]:
        """The puts into what may be any container."""
        return self._sorted[1]

    @cached_property
    def _by_key(self) -> dict[str | None, list[Put]]:
        """The same by the text that is their key; None of those with another key, or none."""
        found: dict[str | None, list[Put]] = {None: []}
        for put in self.anywhere:
            found.setdefault(_text(put), []).append(put)
        return found

    def _is_own(self, name: str, scope: Scope) -> bool:
        return scope.kind != "class" and all(self._is_own_binding(each) for each in scope.bound[name])

    def _is_own_binding(self, binding: ast.AST) -> bool:
        tree = self._shapes.tree
        match tree.parent(binding):
            case ast.Assign(targets=[ast.Name()], value=value) | ast.AnnAssign(value=ast.expr() as value):
                match value:
                    case ast.Await(value=ast.Call(func=function)):
                        return tree.dotted(function) == "asyncio.gather" or self._references.find(function) is not None
                return _is_fresh(value, tree)
            case ast.AugAssign() | ast.Delete() | ast.AnnAssign(value=None):
                return isinstance(binding, ast.Name)
        return False

    def into(self, name: str, scope: Scope, shape: Shape) -> Shape:
        """Return the shape of a variable with all that is put into what was assigned to it, whose shape is given."""
        for put in self._sorted[0].get((name, scope), ()):
            match put.way:
                case "item":
                    shape = put_item(shape, self._value(put))
                case "key" if put.key is not None:
                    shape = put_key(shape, self._shapes.key(put.key), self._value(put), written=_is_written(put))
                case "items" | "merge":
                    shape = self._merged(shape, self._value(put))
                case _:
                    return UNKNOWN
        return shape

    def into_any(self, container: Shape, part: Literal["keys", "values"], text: str | None = None) -> Shape:
        """Return the shape of what may be put into a container that has several names.

        Args:
            container: Its shape.
            part: What of it: its values, or what a loop goes over.
            text: The key of the value; None where it may be any.
        """
        listed = isinstance(container, Array)
        if not self.anywhere or not isinstance(container, Array | Map | Record):
            return NOTHING
        if isinstance(container, Record):
            if part == "keys":
                return NOTHING
        else:
            text = None

        def compute() -> Shape:
            puts = self.anywhere if text is None else [*self._by_key.get(text, ()), *self._by_key[None]]
            return join(self._part(put, listed, part, text) for put in puts)

        return self._shapes.solve((listed, part, text), compute)

    def _part(self, put: Put, listed: bool, part: str, text: str | None) -> Shape:
        match put.way:
            case "any":
                return UNKNOWN
            case "item" if listed:
                return self._value(put)
            case "items" | "merge" if listed:
                return items(self._value(put))
            case "merge":
                shape = self._value(put)
                if text is not None:
                    return lookup(shape, Literals((text,)))
                return items(shape) if part == "keys" else values(shape)
            case "key" if put.key is not None and part == "keys" and not listed:
                return self._shapes.key(put.key)
            # What is stored under a computed key in a record makes all of them unknown: see `store_anywhere`.
            case "key" if (_text(put) == text) if text is not None else not (listed and _text(put) is not None):
                return self._value(put)
        return NOTHING

    @cached_property
    def store_anywhere(self) -> bool:
        """True where the program stores computed keys in what may be a tool's result: its types then say nothing."""
        for put in self.anywhere:
            merged = put.way == "merge" and not all(isinstance(each, Record) for each in members(self._value(put)))
            if put.way == "any":
                return True
            if merged or (put.way == "key" and not _is_written(put)):
                receiver = self._shapes.of(put.receiver)
                if any(isinstance(each, Record | Unknown) for each in members(receiver)):
                    return True
        return False

    def _value(self, put: Put) -> Shape:
        node = put.value
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            return self._shapes.bound(node)
        return self._shapes.of(node)

    def _merged(self, shape: Shape, more: Shape) -> Shape:
        def of(member: Shape) -> Shape:
            if isinstance(member, Array):
                return put_item(member, self._shapes.items(more))
            return merge(member, more) if isinstance(member, Record | Map) else member

        return each_of(shape, of)


def _is_written(put: Put) -> bool:
    return isinstance(put.key, ast.Constant)


def _text(put: Put) -> str | None:
    return put.key.value if isinstance(put.key, ast.Constant) and isinstance(put.key.value, str) else None


def _find_puts(tree: Tree) -> Iterator[Put]:
    """Yield the places where a program puts something into a container."""
    for attribute in tree.of(ast.Attribute):
        if attribute.attr not in _PUTTING:
            continue
        match tree.parent(attribute):
            case ast.Call(func=function) as call if function is attribute:
                yield from _call(attribute.value, attribute.attr, call)
            case _:
                yield Put(attribute.value, "any")
    for subscript in tree.of(ast.Subscript):
        if isinstance(subscript.ctx, ast.Store):
            way: _Way = "items" if isinstance(subscript.slice, ast.Slice) else "key"
            yield Put(subscript.value, way, subscript, subscript.slice)
    for assignment in tree.of(ast.AugAssign):
        if not isinstance(assignment.target, ast.Subscript) and isinstance(assignment.op, ast.Add | ast.BitOr):
            merges = isinstance(assignment.op, ast.BitOr)
            yield Put(assignment.target, "merge" if merges else "items", assignment.value)
    for name in _PUSHES if {"heapq", "bisect"} & {name.partition(".")[0] for name in tree.imported.values()} else ():
        for call in tree.calls(name):
            if len(call.args) > 1:
                yield Put(call.args[0], "item", call.args[1])


def _call(receiver: ast.expr, method: str, call: ast.Call) -> Iterator[Put]:
    match method, call.args:
        case _ if any(isinstance(each, ast.Starred) for each in call.args):
            yield Put(receiver, "any")
        case ("append" | "add" | "appendleft", [value]) | ("insert", [_, value]):
            yield Put(receiver, "item", value)
        case "setdefault", [key, *default]:
            yield Put(receiver, "key", default[0] if default else ast.Constant(None), key)
        case (("extend" | "extendleft" | "update"), arguments):
            yield from (Put(receiver, "items", each) for each in arguments)
    for keyword in call.keywords:
        if keyword.arg is None:
            yield Put(receiver, "merge", keyword.value)
        elif method == "update":
            yield Put(receiver, "key", keyword.value, ast.Constant(keyword.arg))


def _is_fresh(node: ast.expr, tree: Tree) -> bool:
    """Return whether an expression makes a container that nothing else holds, or is none."""
    match node:
        case ast.Subscript(slice=ast.Slice()):
            return True
        case ast.Call(func=ast.Name(id=name)) if name in _FRESH_CALLS:
            return tree.are_builtin(name)
        case ast.Call(func=function):
            return (tree.dotted(function) or "").rpartition(".")[2] in _FRESH_CLASSES
    return isinstance(node, _DISPLAYS)
