"""Find keys and attributes that no value has which can be there, through functions, lambdas and containers of the program.

A type checker knows what a tool returns, and not what a function without annotations is called with.
"""

import ast
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from codemode_sandboxes.source import Tree

from codemode_graph.check.types import TypeFindings
from codemode_graph.check.value_shapes import members
from codemode_graph.tools.annotations import Array, Literals, Map, Record, Scalar, Shape, Tuple, Union, Unknown

Way: TypeAlias = Literal["key", "get", "attribute", "test"]
"""How a program looks something up."""
_GETTERS: dict[str | None, Way] = {"operator.itemgetter": "key", "operator.attrgetter": "attribute"}


class Lookup(NamedTuple):
    """A place that looks something up by a name that is written out.

    Attributes:
        node: The place.
        receiver: What it looks into; None where that has no expression, as in `itemgetter("key")`.
        shape: The shape of that.
        key: The key, or the name of an attribute.
        way: "key" of a subscript, "get", "attribute", or "test" of `hasattr` and `getattr`.
    """

    node: ast.expr
    receiver: ast.expr | None
    shape: Shape
    key: str
    way: Way


def find_lookups(tree: Tree, types: TypeFindings) -> Iterator[Lookup]:
    """Yield the places of a program that look something up by a name that is written out."""

    def of(node: ast.expr) -> Shape:
        return types.flow.without_empty(types.flow.of(node))

    for subscript in tree.of(ast.Subscript):
        match subscript:
            case ast.Subscript(value=value, slice=ast.Constant(value=str(key)), ctx=ast.Load()):
                yield Lookup(subscript, value, of(value), key, "key")
    for attribute in tree.of(ast.Attribute):
        if (
            isinstance(attribute.ctx, ast.Load)
            and not hasattr(dict, attribute.attr)
            and not _is_outside(attribute, tree)
        ):
            yield Lookup(attribute, attribute.value, of(attribute.value), attribute.attr, "attribute")
    for call in tree.of(ast.Call):
        match call:
            case ast.Call(func=ast.Attribute(attr="get", value=value), args=[ast.Constant(value=str(key)), *_]):
                yield Lookup(call, value, of(value), key, "get")
            case ast.Call(func=ast.Name(id="hasattr" | "getattr"), args=[value, ast.Constant(value=str(key)), *_]) if (
                not _is_read(tree, call, key)
            ):
                yield Lookup(call, value, of(value), key, "test")
            case ast.Call(args=keys) if (way := _GETTERS.get(tree.dotted(call.func))) is not None:
                for passed, _ in types.flow.calls(call) or ():
                    for each in keys:
                        if passed and isinstance(each, ast.Constant) and isinstance(each.value, str):
                            yield Lookup(call, None, passed[0], each.value, way)


def _is_read(tree: Tree, test: ast.Call, key: str) -> bool:
    """Return whether a program reads a key where a test for an attribute of that name is false."""
    guarded = set(_guarded(tree, test))
    for node in tree.of(ast.Subscript, ast.Call):
        match node:
            case (
                ast.Subscript(slice=ast.Constant(value=name))
                | ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=name), *_])
            ) if name == key and node not in guarded:
                return True
    return False


def _guarded(tree: Tree, test: ast.expr) -> Iterator[ast.AST]:
    """Yield the nodes that run only where a test is true."""
    inner: ast.AST = test
    for above in tree.ancestors(test):
        bodies: list[ast.AST] = []
        match above:
            case ast.BoolOp(op=ast.And(), values=values):
                bodies = [*values]
            case ast.IfExp(test=condition, body=body) if condition is inner:
                bodies = [body]
            case ast.If(test=condition, body=statements) if condition is inner:
                bodies = [*statements]
            case ast.comprehension(ifs=conditions) if any(one is inner for one in conditions):
                around = tree.parent(above)
                bodies = [part for name in ("elt", "key", "value") if (part := getattr(around, name, None)) is not None]
        for each in bodies:
            yield from ast.walk(each)
        if isinstance(above, ast.stmt | ast.UnaryOp):
            return
        inner = above


def _is_outside(attribute: ast.Attribute, tree: Tree) -> bool:
    """Return whether it is an attribute of `tools`, or of a module."""
    value = attribute.value
    return isinstance(value, ast.Name) and (value.id == "tools" or value.id in tree.imported)


def wrong_key(lookup: Lookup, types: TypeFindings) -> str | None:
    """Return what is wrong with a lookup, for a model; None where a value may have what it looks for."""
    shapes = members(lookup.shape)
    if not shapes or any(may_have(each, lookup.key, lookup.way) for each in shapes):
        return None
    if types.flow.puts.store_anywhere or (lookup.way in ("key", "get") and types.may_be_stored(lookup.key)):
        return None
    record = next((each for each in shapes if isinstance(each, Record)), None)
    # A program that asks for the kind of a value is ready for others.
    if (record is None or lookup.way == "attribute") and types.is_tested(lookup.receiver):
        return None
    match lookup.way:
        case "key" if record is not None:
            return types.without_key(record, lookup.key)
        case "key" | "get" if record is None:
            return types.no_dict(shapes[0], lookup.key)
        case "get" if record is not None:
            return types.never_found(record, lookup.key)
        case "attribute" if record is not None:
            return types.without_attribute(record, lookup.key)
        case "test" if record is not None:
            return types.never_has(record, lookup.key)
    return None


def may_have(kind: Shape, key: str | None, way: Way = "key") -> bool:
    """Return whether a value of a type may have a key, or an attribute; None stands for a number."""
    if way == "test":
        way = "attribute"
    if isinstance(kind, Union):
        return any(may_have(member, key, way) for member in kind.members)
    if way == "attribute":
        return any(hasattr(each, key or "") for each in _classes(kind)) if not isinstance(kind, Unknown) else True
    match kind:
        case Record():
            return key is not None and (kind.others is not None or key in kind.fields)
        case Array() | Tuple() | Scalar("str"):
            return key is None
        case Literals(values):
            return key is None and any(isinstance(value, str) for value in values)
        case Scalar("int" | "float" | "bool" | "None"):
            return False
    return True


def _classes(kind: Shape) -> tuple[type, ...]:
    """Return the classes that a value of a type may have."""
    match kind:
        case Record() | Map():
            return dict, defaultdict, Counter
        case Array() | Tuple():
            return list, tuple, set, frozenset, deque
        case Literals():
            return tuple(each for scalar in kind.types for each in _classes(scalar))
        case Scalar("str"):
            return (str,)
        case Scalar("int" | "float" | "bool"):
            return int, float
        case Scalar("date" | "datetime"):
            return (datetime,)
    return ()
